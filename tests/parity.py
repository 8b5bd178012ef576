"""Where the published numbers lie, which are too large to be kept with the code."""

import os
from pathlib import Path

import pytest
from safetensors.torch import load_file


def parity_file(name):
    """Tensors of a parity file; the test is skipped where it is not to be had."""
    beside = Path(__file__).parents[2] / "shared" / "parity"
    path = Path(os.environ.get("HERMES_PARITY", beside)) / name
    if not path.is_file():
        pytest.skip(f"{name} is not in {path.parent}; set HERMES_PARITY to its folder")
    return load_file(path)
