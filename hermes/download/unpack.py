"""Archives to folders: chosen members only, nothing outside of the folder, no links."""

import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from io import BufferedIOBase
from pathlib import Path, PurePosixPath

from hermes.download.files import CHUNK, DownloadError
from hermes.schema import Archive

Member = tuple[str, BufferedIOBase | None]
"""Path in the archive, and the open file; none for what is no plain file (link, device)."""

UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # a compression that zipfile does not know
)


def unpack(path: Path, archive: Archive, folder: Path) -> int:
    """Write an archive's wanted members below a folder and return how many there were.

    Args:
        path: the archive (or the plain file, where `unpack` is "none").
        archive: members wanted, leading folders dropped, place below the folder.
        folder: root of the raw folder being made.

    Raises:
        DownloadError: not an archive of its kind, a member that would leave the folder, a link, a
            wanted pattern that nothing matches, two members for one place.
    """
    if archive.unpack == "none":
        target = folder / safe_path(archive.into or archive.filename, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        return 1
    missing = set(archive.members)
    count = 0
    try:
        for name, handle in _read(path, archive):
            missing -= {pattern for pattern in missing if fnmatchcase(name, pattern)}
            _write(name, handle, archive, path, folder)
            count += 1
    except UNREADABLE as error:
        raise DownloadError(f"{path}: not a readable {archive.unpack} archive: {error}") from error
    if missing or not count:
        wanted = ", ".join(sorted(missing)) or "any file"
        raise DownloadError(f"{path}: no member matches {wanted}; the card expects it there")
    return count


def _read(path: Path, archive: Archive) -> Iterator[Member]:
    members = _tar_members if archive.unpack == "tar" else _zip_members
    return members(path, archive.members)


def _wanted(name: str, patterns: list[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _tar_members(path: Path, patterns: list[str]) -> Iterator[Member]:
    with tarfile.open(path, "r:*") as bundle:
        for member in bundle:
            if not member.isdir() and _wanted(member.name, patterns):
                yield member.name, bundle.extractfile(member) if member.isfile() else None


def _zip_members(path: Path, patterns: list[str]) -> Iterator[Member]:
    with zipfile.ZipFile(path) as bundle:
        for member in bundle.infolist():
            if member.is_dir() or not _wanted(member.filename, patterns):
                continue
            if stat.S_ISLNK(member.external_attr >> 16):
                yield member.filename, None
                continue
            with bundle.open(member) as handle:
                yield member.filename, handle


def _write(
    name: str, handle: BufferedIOBase | None, archive: Archive, path: Path, folder: Path
) -> None:
    if handle is None:
        raise DownloadError(f"{path}: member {name!r} is a link or a device, not a file; refused")
    inside = safe_path(name, path)
    kept = inside.parts[archive.strip :]
    if not kept:
        raise DownloadError(
            f"{path}: member {name!r} lies above the {archive.strip} folders dropped"
        )
    target = folder / safe_path(archive.into or ".", path) / Path(*kept)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(target, "xb") as out:
            shutil.copyfileobj(handle, out, CHUNK)
    except FileExistsError:
        raise DownloadError(
            f"{path}: two files for {Path(*kept)}; member {name!r} came last"
        ) from None


def safe_path(name: str, where: Path) -> PurePosixPath:
    """Return a member's path once it is sure to stay below its folder.

    Raises:
        DownloadError: an absolute path, `..`, or a drive letter.
    """
    inside = PurePosixPath(name.replace("\\", "/"))
    if inside.is_absolute() or ".." in inside.parts or ":" in name.split("/")[0]:
        raise DownloadError(f"{where}: member {name!r} would be written outside of its folder")
    return inside
