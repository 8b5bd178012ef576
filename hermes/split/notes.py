"""What a split has to say beside its table: in the log, and in a table of notes."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from hermes.files.tables import write_tsv
from hermes.words import some

logger = logging.getLogger(__name__)

COLUMNS = ("topic", "note", "patients")


class Note(NamedTuple):
    """One thing worth knowing of a split, and the patients it is about.

    Topics: protocol (how the split was made), count (another number than published), mended (a
    mistake in the published lists), missing (listed, but not here), unused (here, but on no side).
    """

    topic: Literal["protocol", "count", "mended", "missing", "unused"]
    note: str
    patients: tuple[str, ...] = ()


def write_notes(path: str | Path, dataset: str, notes: Iterable[Note]) -> None:
    """Write the notes as a table; all but the protocol are warnings in the log as well."""
    notes = list(notes)
    for note in notes:
        level = logging.INFO if note.topic == "protocol" else logging.WARNING
        names = f": {some(note.patients)}" if note.patients else ""
        logger.log(level, "%s: %s%s", dataset, note.note, names)
    rows = [note._asdict() | {"patients": ",".join(note.patients)} for note in notes]
    write_tsv(path, COLUMNS, rows)
