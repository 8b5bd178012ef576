"""A card's archives as single files: which of them may be used, what makes them what they are."""

from collections.abc import Collection
from typing import Any

from hermes.config.schema import Archive, Card

DESCRIBING = {
    *("url", "package", "filename", "numbers", "sha256", "md5"),
    *("unpack", "members", "strip", "into"),
}
"""Keys that decide what an archive puts into the raw folder."""


def expand(archive: Archive) -> list[Archive]:
    """Return an archive entry's files: itself, or one per number of its range."""
    if archive.numbers is None:
        return [archive]
    first, last = archive.numbers
    keys = ("url", "filename", "into")
    return [
        archive.model_copy(update={k: getattr(archive, k).format(i=i) for k in keys})
        for i in range(first, last + 1)
    ]


def describe(archives: list[Archive]) -> list[dict[str, Any]]:
    """Return what makes the unpacked content of archives what it is."""
    return [
        archive.model_dump(mode="json", include=DESCRIBING, exclude_defaults=True)
        for archive in archives
    ]


def offered(card: Card, accept: Collection[str]) -> list[Archive]:
    """Return the files that a card offers; unofficial copies only where they are accepted.

    Args:
        card: the dataset's.
        accept: names of the configuration's list `accept`.
    """
    allowed = unofficial(card.name) in accept
    entries = [entry for entry in card.archives if allowed or not entry.unofficial]
    return [file for entry in entries for file in expand(entry)]


def unofficial(dataset: str) -> str:
    """Return what accepts a dataset together with copies that others than its owners pass on."""
    return f"{dataset}:unofficial"
