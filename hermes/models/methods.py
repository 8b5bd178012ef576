"""Every method: one line each. How to add one: docs/add-a-method.md."""

from hermes.losses import bce_dice_loss, common_loss
from hermes.models.clip_driven import CLIPDriven, text_remark
from hermes.models.dodnet import DoDNet
from hermes.models.hermes import Hermes
from hermes.models.hermes_m import hermes_m
from hermes.models.hermes_vit import HermesViT
from hermes.models.interface import Method
from hermes.models.medformer import TraditionalMedFormer
from hermes.models.multi_decoder import MultiDecoder
from hermes.models.multitalent import multitalent_loss
from hermes.models.resunet import ResUNet
from hermes.models.traditional import Traditional
from hermes.models.uniseg import UniSeg, uniseg_loss
from hermes.models.vit import ViT

METHODS = {
    "traditional": Method(
        title="Traditional",
        paper="Gao et al. 2024, Training Like a Medical Resident (the baseline)",
        networks={
            "resunet": lambda spec: Traditional(ResUNet(spec.base_channels), spec.rows),
            "vit": lambda spec: Traditional(ViT(spec.base_channels), spec.rows),
            "medformer": TraditionalMedFormer,
        },
        loss=common_loss,
        grows=True,
    ),
    "hermes": Method(
        title="Hermes",
        paper="Gao et al. 2024, Training Like a Medical Resident",
        networks={
            "resunet": lambda spec: Hermes(
                ResUNet(spec.base_channels), spec.rows, len(spec.modalities), spec.prior_length
            ),
            "vit": lambda spec: HermesViT(
                ViT(spec.base_channels), spec.rows, len(spec.modalities), spec.prior_length
            ),
            "medformer": hermes_m,
        },
        loss=common_loss,
        grows=True,
    ),
    "multi_decoder": Method(
        title="Multi-decoder",
        paper="Chen et al. 2019, Med3D: Transfer Learning for 3D Medical Image Analysis",
        networks={
            "resunet": lambda spec: MultiDecoder(spec.base_channels, spec.tasks, spec.datasets)
        },
        loss=common_loss,
        grows=True,
    ),
    "dodnet": Method(
        title="DoDNet",
        paper="Zhang et al. 2021, DoDNet: Learning to Segment Multi-Organ and Tumors from "
        "Multiple Partially Labeled Datasets",
        networks={
            "resunet": lambda spec: DoDNet(ResUNet(spec.base_channels), spec.tasks, spec.datasets)
        },
        loss=bce_dice_loss,
    ),
    "clip_driven": Method(
        title="CLIP-driven",
        paper="Liu et al. 2023, CLIP-Driven Universal Model for Organ Segmentation and Tumor "
        "Detection",
        networks={
            "resunet": lambda spec: CLIPDriven(
                ResUNet(spec.base_channels), spec.tasks, spec.options
            )
        },
        loss=bce_dice_loss,
        remark=text_remark,
    ),
    "uniseg": Method(
        title="UniSeg",
        paper="Ye et al. 2023, UniSeg: A Prompt-Driven Universal Segmentation Model as Well as a "
        "Strong Representation Learner",
        networks={
            "resunet": lambda spec: UniSeg(
                ResUNet(spec.base_channels), spec.tasks, spec.datasets, spec.options
            )
        },
        loss=uniseg_loss,
        pools=True,
    ),
    "multitalent": Method(
        title="MultiTalent",
        paper="Ulrich et al. 2023, MultiTalent: A Multi-Dataset Approach to Medical Image "
        "Segmentation",
        networks={"resunet": lambda spec: Traditional(ResUNet(spec.base_channels), spec.rows)},
        loss=multitalent_loss,
        sampling="sqrt",
        grows=True,
        pools=True,
    ),
}
