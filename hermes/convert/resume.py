"""Records of converted cases, so that a later run passes over what has not changed."""

import json
from pathlib import Path

from hermes.atomic import writing

FOLDER = ".records"
"""Below the canonical folder; one JSON file per case, removed with the folder itself."""


def outputs_of(out: Path, case: str) -> tuple[Path, Path]:
    """Paths of a case's image and label."""
    return out / f"{case}.nii.gz", out / f"{case}_label.nii.gz"


def remember(out: Path, case: str, fingerprint: str, row: dict[str, str]) -> None:
    """Record a case whose outputs are complete."""
    record = {"fingerprint": fingerprint, "row": row, "bytes": _sizes(out, case)}
    with writing(out / FOLDER / f"{case}.json") as aside:
        aside.write_text(json.dumps(record, indent=1, sort_keys=True), encoding="utf-8")


def recall(out: Path, case: str, fingerprint: str) -> dict[str, str] | None:
    """Return a case's row when its sources are unchanged and its outputs lie there whole."""
    path = out / FOLDER / f"{case}.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        same = record["fingerprint"] == fingerprint and record["bytes"] == _sizes(out, case)
        return record["row"] if same else None
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _sizes(out: Path, case: str) -> list[int]:
    """Bytes of image and label; -1 where there is none."""
    return [p.stat().st_size if p.is_file() else -1 for p in outputs_of(out, case)]


def tidy(out: Path, cases: set[str]) -> None:
    """Remove outputs and records of cases that are no longer converted."""
    if not out.is_dir():
        return
    kept = {path for case in cases for path in outputs_of(out, case)}
    kept |= {out / FOLDER / f"{case}.json" for case in cases}
    for path in (*out.glob("*.nii.gz"), *(out / FOLDER).glob("*.json")):
        if path not in kept:
            path.unlink()
