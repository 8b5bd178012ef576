"""Archives to folders: chosen members only, nothing outside of the folder, no links, no bombs."""

import os
import shutil
import zipfile
from fnmatch import fnmatchcase
from io import BufferedWriter
from pathlib import Path, PurePosixPath

from hermes.config.schema import Archive
from hermes.download.files import CHUNK, FULL, DownloadError
from hermes.download.members import Readable, damage_told, read_members, refuse_bomb, wanted


def unpack(path: Path, archive: Archive, folder: Path) -> int:
    """Write an archive's wanted members below a folder and return how many there were.

    A plain file (`unpack` is "none") is linked where the disk allows it, so that it takes no
    room twice, and copied elsewhere.

    Args:
        path: the archive, or the plain file.
        archive: members wanted, leading folders dropped, place below the folder.
        folder: root of the raw folder being made.

    Raises:
        Damaged: not a readable archive of its kind.
        DownloadError: a member that would leave the folder, a link, an encrypted member, a wanted
            pattern that nothing matches, two members for one place, more bytes than such an
            archive can honestly hold.
    """
    if archive.unpack == "none":
        _place(path, folder / safe_path(archive.into or archive.filename, path))
        return 1
    missing = set(archive.members)
    writer = _Writer(path, archive, folder)
    count = 0
    with damage_told(path, archive):
        for name, handle in read_members(path, archive):
            missing -= {pattern for pattern in missing if fnmatchcase(name, pattern)}
            writer.write(name, handle)
            count += 1
    if missing or not count:
        lacking = ", ".join(sorted(missing)) or "any file"
        raise DownloadError(f"{path}: no member matches {lacking}; the card expects it there")
    return count


def unpacked_bytes(path: Path, archive: Archive) -> int:
    """Return the bytes that an archive's wanted members take once unpacked.

    A zip's directory says it; of a tar, which has none, its own size is returned.

    Raises:
        Damaged: not a zip.
        DownloadError: more bytes than such an archive can honestly hold.
    """
    if archive.unpack != "zip":
        return path.stat().st_size
    with damage_told(path, archive), zipfile.ZipFile(path) as bundle:
        members = [m for m in bundle.infolist() if wanted(m.filename, archive.members)]
    total = sum(member.file_size for member in members)
    refuse_bomb(path, total)
    return total


def _place(path: Path, target: Path) -> None:
    """Link a file, or copy it where links do not reach."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path.resolve(), target)
    except OSError:
        shutil.copyfile(path, target)


class _Writer:
    """Writes one archive's members and remembers their names and bytes."""

    def __init__(self, path: Path, archive: Archive, folder: Path) -> None:
        self._path, self._strip = path, archive.strip
        self._into = folder / safe_path(archive.into or ".", path)
        self._names: dict[str, str] = {}  # name without regard to case -> member
        self._bytes = 0

    def write(self, name: str, handle: Readable | None) -> None:
        if handle is None:
            raise DownloadError(
                f"{self._path}: member {name!r} is a link or a device, not a file; refused"
            )
        inside = safe_path(name, self._path)
        kept = inside.parts[self._strip :]
        if not kept:
            raise DownloadError(
                f"{self._path}: member {name!r} lies above the {self._strip} folders dropped"
            )
        place = "/".join(kept)
        if place.casefold() in self._names:
            other = self._names[place.casefold()]
            raise DownloadError(
                f"{self._path}: two files for {place}: members {other!r} and {name!r}"
            )
        self._names[place.casefold()] = name
        target = self._into / place
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "xb") as out:
                self._copy(handle, out)
        except FileExistsError:
            raise DownloadError(
                f"{self._path}: two files for {place}; member {name!r} came last"
            ) from None
        except OSError as error:
            if error.errno in FULL or not error.strerror:  # no strerror: the archive's
                raise
            raise DownloadError(
                f"{self._path}: member {name!r} cannot be written: {error.strerror}"
            ) from error

    def _copy(self, handle: Readable, out: BufferedWriter) -> None:
        """Copy a member; its bytes are counted, since what a header says may be a lie."""
        while chunk := handle.read(CHUNK):
            self._bytes += len(chunk)
            refuse_bomb(self._path, self._bytes)
            out.write(chunk)


def safe_path(name: str, where: Path) -> PurePosixPath:
    """Return a member's path once it is sure to stay below its folder.

    Raises:
        DownloadError: an absolute path, `..`, or a drive letter.
    """
    inside = PurePosixPath(name.replace("\\", "/"))
    if inside.is_absolute() or ".." in inside.parts or ":" in name.split("/")[0]:
        raise DownloadError(f"{where}: member {name!r} would be written outside of its folder")
    return inside
