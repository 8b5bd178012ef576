"""A table's sidecar, as the command reads it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermes.provenance.sidecar import Chain

SHORT = 12
"""Hexadecimal digits of a hash that are printed."""


class ProvenanceError(ValueError):
    """A table's origin cannot be told; the message says why and what to do."""


@dataclass(frozen=True)
class Record:
    """A table and what its sidecar says.

    Attributes:
        root: the checkout that the sidecar's paths are relative to.
        table: path of the CSV, relative to it where it lies there.
        sidecar: path of the JSON.
        facts: what it holds.
    """

    root: Path
    table: Path
    sidecar: Path
    facts: dict[str, Any]

    @property
    def chain(self) -> Chain:
        """The files that the table hangs on; none for a table that is measured."""
        kept = self.facts.get("chain", {"files": {}, "datasets": [], "pairs": []})
        pairs = [(run, dataset) for run, dataset in kept["pairs"]]
        return Chain(kept["files"], kept["datasets"], pairs)

    def hash_of(self, kind: str, run: str = "", dataset: str = "") -> str:
        """Recorded hash of a link, shortened; "-" where there is none."""
        if kind not in self.chain.files:
            return "-"
        return short(self.facts["inputs_sha256"][self.chain.path(kind, run, dataset)])


def short(sha256: str) -> str:
    """The first digits of a hash, which tell files apart."""
    return sha256[:SHORT] or "-"


def read(table: str | Path) -> Record:
    """Read the sidecar beside a table.

    Args:
        table: its CSV, or one of the files beside it.

    Raises:
        ProvenanceError: there is no sidecar, or none that names the files it hangs on.
    """
    given = Path(table)
    sidecar = given.with_name(given.stem.removesuffix("_intervals") + ".json")
    if not sidecar.is_file():
        known = sorted(path.stem for path in sidecar.parent.glob("*.json") if _is_sidecar(path))
        there = f"there are {', '.join(known)}" if known else "no other table lies there"
        made = f"if it is a table of the study, make it: snakemake --cores all {given}"
        raise ProvenanceError(f"{given}: no sidecar {sidecar}; {there}; {made}")
    try:
        facts = json.loads(sidecar.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ProvenanceError(f"{sidecar}: not JSON ({error}); make the table again") from error
    if "outputs_sha256" not in facts:
        raise ProvenanceError(f"{sidecar}: no sidecar of a table, or an old one; make it again")
    root = _root(sidecar)
    csv = sidecar.with_suffix(".csv").resolve()
    return Record(root, csv.relative_to(root) if csv.is_relative_to(root) else csv, sidecar, facts)


def _is_sidecar(path: Path) -> bool:
    return path.with_suffix(".csv").is_file()


def _root(sidecar: Path) -> Path:
    """The checkout that a sidecar lies in, or the folder that one is in."""
    parents = sidecar.resolve().parents
    return next((folder for folder in parents if (folder / "Snakefile").is_file()), parents[0])
