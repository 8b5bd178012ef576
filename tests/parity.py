"""Where the published numbers lie: small ones beside the tests, large ones where they are kept."""

import os
from pathlib import Path

import pytest
from safetensors.torch import load_file

DATA = Path(__file__).parent / "data"
KEPT = ("losses.safetensors",)


def parity_file(name):
    """Tensors of a parity file; skipped where a large one is not to be had."""
    if name in KEPT:
        return load_file(DATA / name)
    folder = os.environ.get("HERMES_PARITY")
    if not folder:
        pytest.skip(f"{name} is too large to be kept here; set HERMES_PARITY to its folder")
    if not (Path(folder) / name).is_file():
        pytest.skip(f"{name} is not in {folder}, where HERMES_PARITY points")
    return load_file(Path(folder) / name)
