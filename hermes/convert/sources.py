"""Which raw files a case is made of, and a fingerprint of them."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hermes.convert.find import Case
from hermes.convert.raw import CaseError, RawFolder
from hermes.schema import Card


@dataclass(frozen=True)
class Sources:
    """Paths of a case's files below the raw folder, each file checked against the manifest."""

    root: Path
    image: tuple[str, ...]
    labels: dict[int, tuple[str, ...]]  # published value -> files; 0: one source for all values
    table: str = ""

    @property
    def paths(self) -> tuple[str, ...]:
        """All of them, in natural order by kind."""
        labels = [path for paths in self.labels.values() for path in paths]
        return (*self.image, *labels, *([self.table] if self.table else []))

    def image_paths(self) -> list[Path]:
        return [self.root / path for path in self.image]

    def label_paths(self, value: int = 0) -> list[Path]:
        return [self.root / path for path in self.labels[value]]


def sources_of(case: Case, raw: RawFolder) -> Sources:
    """Find the files of a case and see that each is there, whole by its size.

    Raises:
        CaseError: a file is missing, empty, or not the one the manifest lists.
    """
    image, table = raw.matching(case.path), ""
    label = case.image.label
    patterns = label.maps if label.format == "probability" else {0: label.path}
    if label.format == "none":
        patterns = {}
    labels = {
        value: tuple(raw.matching(_locate(raw, pattern, case)))
        for value, pattern in patterns.items()
    }
    if case.image.frames:
        table = raw.locate(case.image.frames.table, {})
    sources = Sources(raw.root, tuple(image), labels, table)
    for path in sources.paths:
        raw.open_path(path)
    return sources


def _locate(raw: RawFolder, pattern: str, case: Case) -> str:
    try:
        return raw.locate(pattern, case.holes)
    except CaseError as error:
        raise CaseError(f"reference segmentation: {error}") from None


def fingerprint(case: Case, card: Card, raw: RawFolder, sources: Sources) -> str:
    """Checksum of everything a case's outputs depend on: files, card, and this package's code."""
    what = {
        "case": [case.name, case.patient, case.modality, case.path, case.frame],
        "image": case.image.model_dump(mode="json"),
        "values": sorted(card.canonical_values.items()),
        "unlisted": card.unlisted_values,
        "structures": card.structures,
        "sides": card.sides,
        "files": [(path, raw.files[path][1]) for path in sources.paths],
        "code": _code(),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


@cache
def _code() -> list[str]:
    here = Path(__file__).parent
    files = [*sorted(here.glob("*.py")), here.parent / "volume.py", here.parent / "schema.py"]
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
