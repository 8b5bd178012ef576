"""Write aside, then rename: a file is whole or absent, never half-written.

A file that is being written is called `.HOST.PID.NAME`. What a process that was killed has left
aside is removed by the next one of its machine that writes into the folder.
"""

import errno
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

FULL = {
    errno.ENOSPC: "no room is left",
    errno.EDQUOT: "your share of the room is used up",
    errno.EFBIG: "files may not be larger",
}
"""Errors of a disk without room, in words."""

PROBE_BYTES = 2**20
"""ASSUME: where a library could not write and does not say why, so much is tried; blosc2 writes
less than that at a time."""

_HOST = re.sub(r"[^\w-]", "_", platform.node().partition(".")[0]) or "here"
_ASIDE = re.compile(r"\.(?P<host>[\w-]+)\.(?P<pid>\d+)\.(?P<name>.+)")


class WriteError(OSError):
    """A file cannot be written: the message names it and the disk, and says what to do.

    Nothing that is written afterwards can be trusted to do better, so no stage takes it for the
    failure of a single case.
    """


@contextmanager
def writing(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary sibling of `path`; rename it onto `path` when the block succeeds.

    The sibling keeps every suffix of `path`, so libraries that choose a format by file name
    see the one they expect. It is on the disk before it is renamed: a network's file system may
    say only then that it is full. On an error the sibling is removed and `path` stays as it was.

    Raises WriteError: the block met an OSError, or any error while there was no room.
    """
    target = Path(path)
    aside = target.with_name(f".{_HOST}.{os.getpid()}.{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        yield aside
        _flush(aside)
        aside.replace(target)
    except Exception as error:
        raise_told(target, error)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


@contextmanager
def writing_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yield an empty sibling folder of `path`, which takes its place when the block succeeds.

    On an error it is removed and `path` stays as it was. Raises WriteError as `writing` does.
    """
    target = Path(path)
    aside = target.with_name(f".{_HOST}.{os.getpid()}.{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        yield aside
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
    except WriteError as error:  # of a file within
        raise WriteError(str(error).replace(str(aside), str(target))) from error
    except Exception as error:
        raise_told(target, error)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def raise_told(target: Path, error: Exception) -> None:
    """Raise an error that came while `target` was written: WriteError where that was the reason."""
    if isinstance(error, WriteError):
        raise error
    reason = error if isinstance(error, OSError) else _refusal(target.parent)
    if reason is None:
        raise error
    raise WriteError(unwritten(target, reason)) from error


def remove_asides(path: Path) -> None:
    """Remove what other processes, of any machine, have left aside of this very file.

    Only for a file that no other process is writing.
    """
    for entry in path.parent.glob(f".*.{path.name}"):
        found = _ASIDE.fullmatch(entry.name)
        if found and found["name"] == path.name:
            entry.unlink(missing_ok=True)


@cache
def _sweep(folder: Path) -> None:
    """Remove what processes of this machine that are no more left aside; once for each folder."""
    for entry in os.scandir(folder):
        found = _ASIDE.fullmatch(entry.name)
        if not found or found["host"] != _HOST or _alive(int(found["pid"])):
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry, ignore_errors=True)
        else:
            Path(entry).unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)  # another: it is somebody else's
    return True


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refusal(folder: Path) -> OSError | None:
    """Why nothing can be written into a folder; None where it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return error
    return None


def unwritten(target: Path, reason: OSError) -> str:
    """Say that a file or folder cannot be written, why, how much room there is and what to do."""
    start = f"{target}: cannot be written: "
    if reason.errno not in FULL:
        what = reason.strerror or str(reason)
        where = f" ({reason.filename})" if reason.filename else ""
        return f"{start}{what}{where}. Nothing half-written is left; mend it and run it again"
    room = ""
    with suppress(OSError):
        disk = next(p for p in (target.absolute()).parents if p.exists())
        usage = shutil.disk_usage(disk)
        mount = next(p for p in (disk, *disk.parents) if os.path.ismount(p))
        room = f" on {mount} ({_mb(usage.free)} of {_mb(usage.total)} MB free)"
    return (
        f"{start}{FULL[reason.errno]}{room}. Nothing half-written is left; make room, or let the "
        "folder be a link to a larger disk, and run it again: it goes on from what is done"
    )


def _mb(count: int) -> str:
    return f"{count / 2**20:,.0f}"
