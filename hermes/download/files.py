"""Files on disk: checksums, locks, the manifest of a raw folder."""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hermes.files.atomic import writing

CHUNK = 1 << 20
"""Bytes read at once."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a disk, or of a person's share of it, that has no room left."""


class DownloadError(RuntimeError):
    """A dataset cannot be had; the message says what is wrong and what to do."""


class Damaged(DownloadError):
    """A file is not readable as what its card says it is."""


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Return a file's checksum as hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


@contextmanager
def full_disk_told(what: str) -> Iterator[None]:
    """Turn the error of a full disk into a message; other errors pass.

    Args:
        what: what was being done and what is kept of it, as the message's first words.

    Raises:
        DownloadError: no room was left.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise DownloadError(
            f"{what}. No room is left on the disk: make some and run again"
        ) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file that several datasets may fetch at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield  # closing the file gives the lock back


def size_of_file(path: Path) -> int:
    """Return a file's size in bytes; 0 where there is none.

    Another process may put a part in its place between two questions, so only one is asked.
    """
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def list_files(root: Path) -> list[str]:
    """Return the paths of all files below a folder, sorted, with `/`; links are followed."""
    if not root.is_dir():
        return []
    found = [
        Path(folder, name).relative_to(root).as_posix()
        for folder, _, names in os.walk(root, followlinks=True)
        for name in names
    ]
    return sorted(found)


def build_manifest(
    dataset: str, source: str, root: Path, archives: list[dict[str, Any]], workers: int
) -> dict[str, Any]:
    """Describe a raw folder: every file's path, size and sha256, and where they came from.

    Args:
        dataset: the card's name.
        source: "download" or "copy".
        root: the raw folder.
        archives: what was fetched, one entry each.
        workers: files read at the same time.
    """
    paths = list_files(root)
    with ThreadPoolExecutor(workers) as pool:
        sums = list(pool.map(lambda path: digest(root / path), paths))
    files = [
        {"path": path, "bytes": (root / path).stat().st_size, "sha256": checksum}
        for path, checksum in zip(paths, sums, strict=True)
    ]
    return {"dataset": dataset, "source": source, "archives": archives, "files": files}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, aside first."""
    with writing(path) as aside:
        aside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
