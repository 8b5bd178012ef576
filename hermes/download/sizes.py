"""Sizes in plain words, and whether the disks have room for what is to come."""

import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hermes.config.schema import Archive
from hermes.download.files import DownloadError

log = logging.getLogger(__name__)

UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
"""Decimal units, as the pages of datasets give them."""


def plain(count: int | float) -> str:
    """Say a number of bytes in three figures.

    >>> plain(24_200_000_000), plain(940_000), plain(17)
    ('24.2 GB', '940 kB', '17 bytes')
    """
    for unit, name in UNITS:
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:.0f} bytes"


def counted(files: int) -> str:
    """Say a number of files.

    >>> counted(1), counted(2)
    ('1 file', '2 files')
    """
    return f"{files} file{'s' * (files != 1)}"


@dataclass(frozen=True)
class Size:
    """A number of bytes that may be rough, beside files whose size nobody knows yet."""

    bytes: int = 0
    about: bool = False
    unknown: int = 0  # files

    def __add__(self, other: "Size") -> "Size":
        return Size(
            self.bytes + other.bytes, self.about or other.about, self.unknown + other.unknown
        )

    def __str__(self) -> str:
        known = f"{'about ' * self.about}{plain(self.bytes)}"
        if not self.unknown:
            return known
        files = f"{counted(self.unknown)} of unknown size"
        return f"{known} and {files}" if self.bytes else files


def size_of_archive(archive: Archive, served: int | None = None) -> Size:
    """Return an archive's size: the card's exact one, else what its server says, else a rough one.

    Args:
        archive: of the card.
        served: bytes that the server gives, where it was asked.
    """
    if archive.bytes is not None:
        return Size(archive.bytes)
    if served is not None:
        return Size(served)
    if archive.about_bytes is not None:
        return Size(archive.about_bytes, about=True)
    return Size(unknown=1)


def unpacked_of(archive: Archive, size: Size | None = None) -> Size:
    """Return the rough size of what is unpacked of an archive; nothing of a plain file.

    ASSUME: what the card does not say is about the archive's own size; a plain file is linked and
    takes no more.

    Args:
        archive: of the card.
        size: its own, where it is known better than from the card.
    """
    if archive.unpack == "none":
        return Size()
    known = archive.about_unpacked_bytes or (size or size_of_archive(archive)).bytes
    return Size(known, about=bool(known))


def left_of(size: Size, here: int) -> Size:
    """Return what is left of a file of which some bytes are here."""
    return Size(max(0, size.bytes - here), size.about, size.unknown)


def free_bytes(folder: Path) -> int:
    """Return the room on a folder's disk; the folder need not exist yet."""
    return shutil.disk_usage(_existing(folder)).free


def check_room(title: str, fetch: tuple[Path, Size], unpacked: tuple[Path, Size]) -> None:
    """Say what is to come, and stop where the disks have not got the room.

    Args:
        title: the dataset's.
        fetch: folder of the archives, and what is still to be fetched into it.
        unpacked: the raw folder, and what is going to be unpacked into it.

    Raises:
        DownloadError: a disk is too small.
    """
    wants = [want for want in (fetch, unpacked) if want[1] != Size()]
    parts = [f"{fetch[1]} to fetch"] if fetch[1] != Size() else []
    parts += [f"{unpacked[1]} unpacked"] if unpacked[1] != Size() else []
    if not parts:
        return
    for disk, size in _per_disk(wants).items():
        free = free_bytes(disk)
        sentence = f"{title}: {', '.join(parts)}; {plain(free)} free"
        if size.bytes > free:
            raise DownloadError(
                f"{sentence} on the disk of {disk}: {plain(size.bytes - free)} too few. Make "
                "room, or let data/ be a link to a larger disk, or fetch the archives to another "
                "disk yourself and name its folder as the mirror (--config mirror=FOLDER)"
            )
        log.info(sentence)


def _per_disk(wants: Iterable[tuple[Path, Size]]) -> dict[Path, Size]:
    """Add up what goes to one disk; the first folder named stands for it."""
    named: dict[int, Path] = {}
    sums: dict[Path, Size] = {}
    for folder, size in wants:
        place = named.setdefault(_existing(folder).stat().st_dev, folder)
        sums[place] = sums.get(place, Size()) + size
    return sums


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())
