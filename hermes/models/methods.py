"""Every method: one line each. How to add one: docs/add-a-method.md."""

from hermes.losses import common_loss
from hermes.models.hermes import Hermes
from hermes.models.interface import Method
from hermes.models.resunet import ResUNet
from hermes.models.traditional import Traditional

METHODS = {
    "traditional": Method(
        title="Traditional",
        paper="Gao et al. 2024, Training Like a Medical Resident (the baseline)",
        networks={"resunet": lambda spec: Traditional(ResUNet(spec.base_channels), spec.rows)},
        loss=common_loss,
        grows=True,
    ),
    "hermes": Method(
        title="Hermes",
        paper="Gao et al. 2024, Training Like a Medical Resident",
        networks={
            "resunet": lambda spec: Hermes(
                ResUNet(spec.base_channels), spec.rows, len(spec.modalities), spec.prior_length
            )
        },
        loss=common_loss,
        grows=True,
    ),
}
