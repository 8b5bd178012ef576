"""Shapes in signatures are enforced here, and only here; one thread keeps tests deterministic."""

from jaxtyping import install_import_hook

install_import_hook("hermes", "beartype.beartype")

import torch  # noqa: E402  (the hook must come before anything imports hermes)

torch.set_num_threads(1)
