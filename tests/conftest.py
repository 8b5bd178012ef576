"""Shapes in signatures are enforced here, and only here; one thread keeps tests deterministic."""

from jaxtyping import install_import_hook

FIRST = ("test_slurm.py", "test_dvc.py", "test_killed_anywhere.py", "test_same_bytes.py")
"""Files that take longest: with several processes, one that began last would be waited for."""

install_import_hook("hermes", "beartype.beartype")

import torch  # noqa: E402  (the hook must come before anything imports hermes)

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list) -> None:
    """Files that take longest come first."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(FIRST)))
