"""Class masks of a prediction: one bit per class and voxel, compressed.

Classes are thresholded one by one, so that masks of two classes may overlap, which a label map
could not hold.
"""

import os
from pathlib import Path

import blosc2
import numpy as np
from jaxtyping import UInt8

from hermes.files.atomic import writing


def save_masks(path: str | os.PathLike, masks: UInt8[np.ndarray, "k z y x"]) -> None:
    """Write masks of 0 and 1, aside first; same masks, same bytes."""
    with writing(path) as aside:
        blosc2.asarray(
            np.ascontiguousarray(masks),
            urlpath=str(aside),
            mode="w",
            chunks=(1, *masks.shape[1:]),  # a class is read alone
            cparams={"codec": blosc2.Codec.LZ4, "typesize": 1, "nthreads": 1},
            dparams={"nthreads": 1},  # else the file holds the number of this machine's cores
        )


def load_masks(path: str | os.PathLike) -> UInt8[np.ndarray, "k z y x"]:
    """Read masks written by `save_masks`.

    Raises:
        ValueError: no such file, or a damaged one; says which.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file; run predict again")
    try:
        return blosc2.open(str(path), mode="r")[...]
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{path}: damaged ({error}); run predict again") from error
