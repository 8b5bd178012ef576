"""What lies in archives: wanted members open one by one, damage told, no bombs."""

import errno
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol, runtime_checkable

from hermes.config.schema import Archive
from hermes.download.files import CHUNK, Damaged, DownloadError
from hermes.download.sizes import plain


@runtime_checkable
class Readable(Protocol):
    """An open member."""

    def read(self, size: int = -1, /) -> bytes: ...


Member = tuple[str, Readable | None]
"""Path in the archive, and the open file; none for what is no plain file (link, device)."""

GROWTH = 100
"""ASSUME: scans unpack to a few times their archive, mostly empty label maps to some ten times."""

HARMLESS_BYTES = 10 * 10**9
"""ASSUME: 10 GB fill no disk that a study fits on, so an archive may always unpack to as much."""

ENCRYPTED = 0x1
"""Bit of a zip member's flags."""

UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    UnicodeDecodeError,  # of a member's name
)
"""What the readers of archives raise at damage."""


def read_through(path: Path, archive: Archive) -> None:
    """Read an archive's wanted members to their ends, so that damage shows; nothing is written.

    Raises:
        Damaged: not a readable archive of its kind.
        DownloadError: an encrypted member, a packing that is not known, absurdly many bytes.
    """
    total = 0
    with damage_told(path, archive):
        for _, handle in read_members(path, archive):
            while handle and (chunk := handle.read(CHUNK)):
                total += len(chunk)
                refuse_bomb(path, total)


def open_directory(path: Path, archive: Archive) -> None:
    """Read a zip's directory, which is at its end, or a tar's first header.

    Raises:
        Damaged: there is none.
    """
    with damage_told(path, archive):
        if archive.unpack == "tar":
            tarfile.open(path, "r:*").close()
        else:
            zipfile.ZipFile(path).close()


@contextmanager
def damage_told(path: Path, archive: Archive) -> Iterator[None]:
    """Turn what the readers of archives raise into messages; errors of the disk pass.

    Raises:
        Damaged: the archive cannot be read.
        DownloadError: it is packed by a method that Python does not know.
    """
    try:
        yield
    except NotImplementedError as error:
        raise DownloadError(
            f"{path}: packed in a way that cannot be read here ({error}); unpack it yourself and "
            "put the files into the raw folder"
        ) from error
    except (*UNREADABLE, OSError) as error:
        # the disk's has a text; an archive's has none, or is that of a place before the file
        if isinstance(error, OSError) and error.strerror and error.errno != errno.EINVAL:
            raise
        why = str(error).partition("\n")[0] or type(error).__name__
        raise Damaged(f"{path}: not a readable {archive.unpack} archive: {why}") from error


def refuse_bomb(path: Path, unpacked: int) -> None:
    """Refuse more bytes than an honest archive of this size unpacks to."""
    packed = path.stat().st_size
    if unpacked > max(HARMLESS_BYTES, GROWTH * packed):
        raise DownloadError(
            f"{path}: {plain(packed)} would unpack to {plain(unpacked)} or more, which no archive "
            "of scans does; refused. Look where it came from"
        )


def read_members(path: Path, archive: Archive) -> Iterator[Member]:
    """Give an archive's wanted members, each open until the next; folders are none."""
    members = _tar_members if archive.unpack == "tar" else _zip_members
    return members(path, archive.members)


def wanted(name: str, patterns: list[str]) -> bool:
    """Say whether a member's path matches any of a card's patterns; all do where it has none."""
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _tar_members(path: Path, patterns: list[str]) -> Iterator[Member]:
    with tarfile.open(path, "r:*") as bundle:
        for member in bundle:
            if not member.isdir() and wanted(member.name, patterns):
                yield member.name, bundle.extractfile(member) if member.isfile() else None
        while bundle.fileobj.read(CHUNK):  # a packed tar has its checksum at its end
            pass


def _zip_members(path: Path, patterns: list[str]) -> Iterator[Member]:
    with zipfile.ZipFile(path) as bundle:
        for member in bundle.infolist():
            if member.is_dir() or not wanted(member.filename, patterns):
                continue
            if member.flag_bits & ENCRYPTED:
                raise DownloadError(
                    f"{path}: member {member.filename!r} is encrypted; unpack the archive with its "
                    "owners' password and put the files into the raw folder"
                )
            if stat.S_ISLNK(member.external_attr >> 16):
                yield member.filename, None
                continue
            with bundle.open(member) as handle:
                yield member.filename, handle
