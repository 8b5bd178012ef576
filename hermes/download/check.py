"""Whether an archive is the one that its card means: size, checksum, or else its own bytes."""

import logging
import zlib
from pathlib import Path

from isal import igzip, isal_zlib

from hermes.config.schema import Archive
from hermes.download.files import CHUNK, Damaged, DownloadError, digest
from hermes.download.members import open_directory, read_through

log = logging.getLogger(__name__)


def checksum_of(archive: Archive) -> tuple[str, str]:
    """Return algorithm and checksum of a card's archive: sha256, else md5, else two empty texts."""
    if archive.sha256:
        return "sha256", archive.sha256.lower()
    return ("md5", archive.md5.lower()) if archive.md5 else ("", "")


def check_archive(path: Path, archive: Archive, name: str = "", arrived: bool = False) -> None:
    """Compare a file with the size and the checksum its card gives.

    Where the card has no checksum, a .gz must unpack to its end. An archive must then have its
    directory, and one that just came must give every wanted member: of a zip each has a checksum
    there, as has a packed tar; of a plain tar only the headers have, so that it is read to see that
    nothing is cut off.

    Args:
        path: the file.
        archive: what the card says of it.
        name: what messages call it; default: its path.
        arrived: it was fetched just now; what is in the cache already is not read once more.

    Raises:
        DownloadError: it is another file, or damaged.
    """
    name, size = name or str(path), path.stat().st_size
    if archive.bytes is not None and size != archive.bytes:
        raise DownloadError(f"{name}: {size} bytes, but the card says {archive.bytes}")
    algorithm, wanted = checksum_of(archive)
    if not algorithm:
        _check_whole(path, archive, name, arrived)
        return
    found = digest(path, algorithm)
    if found != wanted:
        raise DownloadError(
            f"{name}: {algorithm} is {found}, but the card says {wanted}: the file is damaged or "
            "is another version"
        )


def _check_whole(path: Path, archive: Archive, name: str, arrived: bool) -> None:
    try:
        if archive.unpack == "none":
            _read_packed(path, archive)
            return
        open_directory(path, archive)
        if arrived:
            log.info("%s: the card has no checksum, so its members are read", name)
            read_through(path, archive)
    except Damaged as error:
        why = str(error).removeprefix(f"{path}: ")
        raise Damaged(f"{name}: damaged or cut short: {why}") from error
    except DownloadError as error:  # no damage: it is kept, and unpacking stops with the same
        log.warning("%s", error)


def _read_packed(path: Path, archive: Archive) -> None:
    """Read a .gz to its end, where its checksum is; nothing is asked of other plain files."""
    if not archive.filename.endswith(".gz"):
        return
    try:
        with igzip.open(path) as handle:
            while handle.read(CHUNK):
                pass
    # isal's stub calls its class of errors an error
    except (igzip.BadGzipFile, isal_zlib.error, zlib.error, EOFError) as error:  # type: ignore[misc]
        raise Damaged(f"{path}: {error}") from error
