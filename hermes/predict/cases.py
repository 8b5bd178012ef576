"""Predicted cases of a folder: files, manifest, and records by which a later run passes over them.

A case is done if the same weights and code predicted the same stored image in the same way, and
its two files are those that were written then.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hermes.files.records import Records
from hermes.files.store import case_files
from hermes.files.tables import read_tsv, write_tsv
from hermes.jobs.precision import choose_dtype
from hermes.origin import code_hash, file_hash
from hermes.predict.crop import Part, written

COLUMNS = ("case", "native", "grid", "crop", "box", "native_sha256", "grid_sha256", "model_sha256")
"""Of the manifest: the case, its two files, what was predicted of it in truth (none: all of it;
image: the body's box, also where no more is stored; reference), the box of the training grid,
first:end of z, y, x, and hashes of the two files and of the weights that they are by."""


class PredictError(ValueError):
    """Predictions do not belong together; the message names the cases."""


def files_of(folder: Path, case: str) -> tuple[Path, Path]:
    """Paths of a case's segmentation, on the scanner's grid, and masks, on the training grid."""
    return folder / f"{case}.nii.gz", folder / f"{case}_grid.b2nd"


def records_of(folder: Path) -> Records:
    """The records of the cases that were predicted into a folder."""
    return Records(folder, files_of, ("*.nii.gz", "*_grid.b2nd"))


def arithmetic(precision: str, where: torch.device) -> dict[str, Any]:
    """What the numbers of this process hang on, down to how sums round, and its code."""
    return {
        "device": where.type,
        "dtype": str(choose_dtype(precision, where)),
        "strict": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "code": code_hash("hermes.predict"),
    }


def fingerprint(how: dict[str, Any], prepared: str | Path, case: str) -> str:
    """Checksum of everything that the prediction of a case depends on.

    Args:
        how: what is the same for all cases; JSON values.
        prepared: folder of the preprocessed cases.
        case: its name; its files are read, which takes no time beside its windows.
    """
    stored = [file_hash(path) if path.is_file() else "" for path in case_files(prepared, case)]
    text = json.dumps(how | {"stored": stored}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def recall(folder: Path, case: str, mark: str) -> dict[str, str] | None:
    """What the manifest says of a case that is done; None: it must be predicted."""
    known = records_of(folder).recall(case, mark)
    if known is None or known != known | _hashes(folder, case):
        return None
    return known


def remember(folder: Path, case: str, mark: str, part: Part) -> dict[str, str]:
    """Record a case whose files were written; returns what the manifest says of it."""
    native, grid = (path.name for path in files_of(folder, case))
    facts = {"case": case, "native": native, "grid": grid} | _hashes(folder, case)
    facts |= {"crop": part.mode, "box": written(part.box)}
    records_of(folder).remember(case, mark, facts)
    return facts


def gather(shards: Sequence[str | Path], cases: Sequence[str], out: str | Path) -> None:
    """Write one manifest of all test cases, in their order, from those of the shards.

    What earlier runs left of other cases is removed.
    """
    rows = {row["case"]: row for path in shards for row in read_tsv(path)}
    if set(rows) != set(cases):
        apart = sorted(set(rows) ^ set(cases))
        raise PredictError(f"{out}: in a shard or in the split alone: {', '.join(apart)}")
    records_of(Path(out).parent).tidy(cases)
    write_tsv(out, COLUMNS, [rows[case] for case in cases])


def _hashes(folder: Path, case: str) -> dict[str, str]:
    native, grid = files_of(folder, case)
    return {"native_sha256": file_hash(native), "grid_sha256": file_hash(grid)}
