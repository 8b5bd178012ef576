"""Which raw files a case is made of, and a fingerprint of them."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import hermes
from hermes.config.schema import Card
from hermes.convert.find import Case
from hermes.convert.raw import CaseError, RawFolder
from hermes.sources import source_files


@dataclass(frozen=True)
class Sources:
    """Paths of a case's files below the raw folder, each file checked against the manifest."""

    root: Path
    image: tuple[str, ...]
    labels: dict[int, tuple[str, ...]]  # published value -> files; 0: one source for all values
    table: str = ""
    copy: "Sources | None" = None  # of the case's copy
    copy_lacks: str = ""  # why the copy's are not there

    @property
    def paths(self) -> tuple[str, ...]:
        """All of them, in natural order by kind."""
        labels = [path for paths in self.labels.values() for path in paths]
        own = (*self.image, *labels, *([self.table] if self.table else []))
        return (*own, *self.copy.paths) if self.copy else own

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
    copy, lacks = _copy_of(case, raw)
    sources = Sources(raw.root, tuple(image), labels, table, copy, lacks)
    for path in sources.paths:
        raw.open_path(path)
    return sources


def _copy_of(case: Case, raw: RawFolder) -> tuple[Sources | None, str]:
    """The files of a case's copy, or why they are not there; neither where it has none."""
    if case.copy is None:
        return None, ""
    try:
        return sources_of(case.copy, raw), ""
    except CaseError as error:
        return None, str(error)


def _locate(raw: RawFolder, pattern: str, case: Case) -> str:
    try:
        return raw.locate(pattern, case.holes)
    except CaseError as error:
        raise CaseError(f"reference segmentation: {error}") from None


def fingerprint(case: Case, card: Card, raw: RawFolder, sources: Sources) -> str:
    """Checksum of everything a case's outputs depend on: files, card, and the code."""
    what = {
        "case": [case.name, case.patient, case.modality, case.path, case.frame],
        "image": case.image.model_dump(mode="json"),
        "copy": [case.copy.path, case.copy.image.model_dump(mode="json")] if case.copy else [],
        "copy_lacks": sources.copy_lacks,
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
    """Checksums of the modules that a case passes through."""
    root = Path(hermes.__file__).parents[1]
    files = source_files("hermes.convert.case", root)
    return [hashlib.sha256((root / path).read_bytes()).hexdigest() for path in files]
