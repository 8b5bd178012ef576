"""Networks: one `nn.Module` per method, built from a `ModelSpec`."""

from hermes.models.build import ModelSpec, build_model, grow, load_model, save_model
from hermes.models.interface import ModelOutput

__all__ = ["ModelOutput", "ModelSpec", "build_model", "grow", "load_model", "save_model"]
