"""From the names and layouts of the published Hermes networks to ours."""

import re
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

Rename = tuple[str, str | Callable[[re.Match], str]]

# Every published name is rewritten by these, in turn.
RESUNET: tuple[Rename, ...] = (
    (r"^inc\.conv1\.", "backbone.encoder.stem.0."),
    (r"^inc\.conv2\.", "backbone.encoder.stem.1."),
    (r"^(down\d)\.conv\.1\.", r"backbone.encoder.\1.blocks.0."),
    (r"^(down\d)\.conv\.2\.", r"backbone.encoder.\1.blocks.1."),
    (r"^(up\d)\.conv\.", r"backbone.decoder.\1.blocks."),
    (r"\.(conv1|conv2|shortcut)\.conv\.", r".\1."),
    (r"^prior_(?:init_)?fuse_(\d)\.", lambda found: f"fusions.{int(found[1]) - 2}."),
    (r"\.attn_layers\.", ".blocks."),
    (r"\.prior_aggregate_block\.", ".gather."),
    (r"\.feat_aggregate_block\.", ".inject."),
    (r"\.prior_ffn\.", ".token_ffn."),
    (r"\.feat_ffn\.", ".voxel_ffn."),
    (r"\.fn\.to_q\.", ".query."),
    (r"\.fn\.to_kv\.", ".key_value."),
    (r"\.fn\.to_out\.", ".output."),
    (r"\.(gather|inject)\.norm1\.", r".\1.norm_query."),
    (r"\.(gather|inject)\.norm2\.", r".\1.norm_context."),
    (r"_ffn\.fn\.fc1\.", "_ffn.widen."),
    (r"_ffn\.fn\.fc2\.", "_ffn.narrow."),
    (r"^out\.norm\.", "readout.0."),
    (r"^out\.classifier_pred\.0\.", "readout.1."),
    (r"^out\.classifier_pred\.1\.", "readout.2."),
    (r"^mod_out\.", "modality_head."),
    (r"\.fc1\.", ".0."),
    (r"\.fc2\.", ".2."),
)

STAGES = ("down2", "down3", "down4", "up1", "up2")  # those with priors, in our order

MEDFORMER: tuple[Rename, ...] = (
    (r"^(\w+)\.prior_selection\.", lambda found: f"priors.{STAGES.index(found[1])}."),
    (r"^inc\.conv1\.", "backbone.stem.0."),
    (r"^inc\.conv2\.", "backbone.stem.1."),
    (r"^down1\.patch_merging\.", "backbone.down1.0."),
    (r"^down1\.conv_blocks\.(\d)\.", lambda found: f"backbone.down1.{int(found[1]) + 1}."),
    (r"^(down\d)\.patch_merging\.", r"backbone.\1.merge."),
    (r"^(up\d)\.conv_blocks\.", r"backbone.\1.blocks."),
    (r"^(down\d|up\d|map_fusion)\.", r"backbone.\1."),
    (r"\.map_gen\.base_proj\.", ".map.content."),
    (r"\.map_gen\.semantic_proj\.", ".map.weights."),
    (r"\.trans_blocks\.", ".exchange."),
    (r"\.norm2\.", ".token_norm."),
    (r"\.attn\.feat_qv\.", ".attention.voxel_input."),
    (r"\.attn\.feat_out\.", ".attention.voxel_output."),
    (r"\.attn\.map_qv\.", ".attention.token_input."),
    (r"\.attn\.map_out\.", ".attention.token_output."),
    (r"\.(conv1|conv2|shortcut|depthwise)\.conv\.", r".\1."),
    (r"\.expand_proj\.conv\.", ".widen."),
    (r"\.pointwise\.conv\.", ".narrow."),
    (r"\.feedforward\.(se\.)?", ".feed_forward."),
    (r"\.in_proj\.", ".inward."),
    (r"\.out_proj\.", ".outward."),
    (r"\.fusion\.layers\.(\d)\.0\.norm\.", r".layers.\1.attention_norm."),
    (r"\.fusion\.layers\.(\d)\.0\.fn\.to_qkv\.", r".layers.\1.query_key_value."),
    (r"\.fusion\.layers\.(\d)\.0\.fn\.to_out\.", r".layers.\1.output."),
    (r"\.fusion\.layers\.(\d)\.1\.norm\.", r".layers.\1.feed_forward.0."),
    (r"\.fusion\.layers\.(\d)\.1\.fn\.fc1\.", r".layers.\1.feed_forward.1."),
    (r"\.fusion\.layers\.(\d)\.1\.fn\.fc2\.", r".layers.\1.feed_forward.3."),
    (r"^out_classifier\.", "readout."),
    (r"^aux_classifier\.", "auxiliary_readout."),
    (r"readout\.norm\.", "readout.0."),
    (r"readout\.classifier_pred\.0\.", "readout.1."),
    (r"readout\.classifier_pred\.1\.", "readout.2."),
    (r"^mod_out\.", "modality_head."),
    (r"\.fc1\.", ".0."),
    (r"\.fc2\.", ".2."),
)


def our_name(published: str, renames: Sequence[Rename]) -> str:
    """Our name of a published parameter."""
    name = published.removeprefix("module.")
    for pattern, replacement in renames:
        name = re.sub(pattern, replacement, name)
    return name


def our_names(state: Mapping[str, Tensor], renames: Sequence[Rename]) -> dict[str, Tensor]:
    """The state under our names, as float32; 1^3 convolutions become matrices, as ours are."""
    renamed = {our_name(name, renames): value.float() for name, value in state.items()}
    return {
        name: value.flatten(1) if value.shape[2:] == (1, 1, 1) else value
        for name, value in renamed.items()
    }


def head_by_head(state: Mapping[str, Tensor], heads: Sequence[int]) -> dict[str, Tensor]:
    """The state of a MedFormer-based network with the channels of attention head by head.

    In the published attention channel i belongs to head i modulo heads; ours has those of a head
    side by side. `heads` of each stage with priors.
    """
    ordered = dict(state)
    for stage, count in zip(STAGES, heads, strict=True):
        for name, value in state.items():
            if not name.startswith(f"backbone.{stage}.") or ".attention." not in name:
                continue
            if name.endswith(("_input.pointwise.weight", "token_input.weight")):
                each = value.unflatten(0, (2, -1, count))  # query and value
                ordered[name] = each.transpose(1, 2).flatten(0, 2)
            elif name.endswith("voxel_output.depthwise.weight"):
                ordered[name] = value.unflatten(0, (-1, count)).transpose(0, 1).flatten(0, 1)
            elif name.endswith(("_output.pointwise.weight", "token_output.weight")):
                ordered[name] = value.unflatten(1, (-1, count)).transpose(1, 2).flatten(1)
    return ordered
