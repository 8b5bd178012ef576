"""The stage: fetch a card's archives, unpack them, write the manifest."""

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from hermes.download import index
from hermes.download.fetch import fetch
from hermes.download.files import (
    DownloadError,
    build_manifest,
    check_archive,
    list_files,
    locked,
    write_json,
)
from hermes.download.unpack import unpack
from hermes.registry import load_card
from hermes.schema import Archive, Card

AUTOMATIC = ("http", "package")
"""Kinds of access that need nothing of a person."""


def run(
    *,
    card: str | Path,
    raw: str | Path,
    manifest: str | Path,
    cache: str | Path,
    mirror: str = "",
    workers: int = 2,
) -> None:
    """Fill a dataset's raw folder and write its manifest.

    Files that a person put into the raw folder are left as they are and listed (source "copy").
    A folder that an earlier run filled is taken as it is if the card still names the same
    archives, and made anew if not.

    Args:
        card: the dataset's card.
        raw: its raw folder.
        manifest: JSON file to write: dataset, source, archives, files (path, bytes, sha256).
        cache: folder for archives, shared by datasets.
        mirror: folder whose files stand in for any address or package, by file name; "": none.
        workers: files fetched or read at the same time.

    Raises:
        DownloadError: a file cannot be had or is not what the card says; for datasets that are
            not fetched by themselves, what a person has to do.
    """
    dataset, raw, manifest, cache = (
        load_card(card),
        Path(raw).resolve(),
        Path(manifest),
        Path(cache),
    )
    archives = [file for archive in dataset.archives for file in expand(archive)]
    wanted = [_describe(archive) for archive in archives]
    record = manifest.with_name(f".{manifest.stem}.record")  # outlives a removed manifest
    source = _state(raw, record, wanted)
    if source in ("absent", "outdated"):
        paths = _obtain(dataset, archives, cache, Path(mirror) if mirror else None, workers)
        _fill(raw, zip(paths, archives, strict=True))
        source = "download"
    fetched = wanted if source == "download" else []
    content = build_manifest(dataset.name, source, raw, fetched, workers)
    if source == "download":
        write_json(record, content)
    write_json(manifest, content)


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


def _describe(archive: Archive) -> dict[str, Any]:
    """What makes an archive's unpacked content what it is."""
    keys = {"url", "package", "filename", "sha256", "md5", "unpack", "members", "strip", "into"}
    return archive.model_dump(include=keys, exclude_defaults=True)


def _state(raw: Path, record: Path, wanted: list[dict[str, Any]]) -> str:
    """Say what a raw folder holds: nothing, a person's copy, an earlier download, an outdated one.

    Only what an earlier run wrote can be outdated: other archives in the card, or files gone.
    """
    files = {path: (raw / path).stat().st_size for path in list_files(raw)}
    if not files:
        return "absent"
    if not record.is_file():
        return "copy"
    known = json.loads(record.read_text("utf-8"))
    ours = {entry["path"]: entry["bytes"] for entry in known["files"]}
    if not files.items() <= ours.items():
        return "copy"
    return "download" if known["archives"] == wanted and files == ours else "outdated"


def _obtain(
    card: Card, archives: list[Archive], cache: Path, mirror: Path | None, workers: int
) -> list[Path]:
    """Return where each archive lies, fetched where it has to be."""
    here = {archive.filename: _stored(archive, cache, mirror) for archive in archives}
    if not archives or (card.access.kind not in AUTOMATIC and None in here.values()):
        raise DownloadError(_how_to_get(card, archives, mirror))

    def one(archive: Archive) -> Path:
        return here[archive.filename] or _fetch(archive, cache)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, archives))


def _stored(archive: Archive, cache: Path, mirror: Path | None) -> Path | None:
    """Return an archive's place in the mirror or the cache, checked, if it is there."""
    for folder in filter(None, (mirror, cache)):
        path = folder / archive.filename
        if path.is_file():
            check_archive(path, archive)
            return path
    return None


def _fetch(archive: Archive, cache: Path) -> Path:
    target = cache / archive.filename
    with locked(target):
        if target.is_file():  # another dataset fetched it meanwhile
            check_archive(target, archive)
            return target
        place, session = _source(archive)
        if isinstance(place, Path):
            check_archive(place, archive)
            return place
        aside = target.with_name(f"{target.name}.unchecked")
        with session:
            fetch(place, aside, session)
        try:
            check_archive(aside, archive)
            os.replace(aside, target)
        finally:
            aside.unlink(missing_ok=True)  # a wrong file is not gone on from
    return target


def _source(archive: Archive) -> tuple[str | Path, requests.Session]:
    """Return where an archive is: an address with the session to use, or a path."""
    if archive.url:
        return archive.url, requests.Session()
    settings = index.read_settings()
    return index.locate(archive.package, archive.filename, settings), settings.session()


def _how_to_get(card: Card, archives: list[Archive], mirror: Path | None) -> str:
    names = ", ".join(archive.filename for archive in archives)
    looked = (
        f" Not found in the mirror folder ({mirror or 'none is set'}): {names}." if names else ""
    )
    return (
        f"{card.title} is not fetched by itself (access: {card.access.kind}). "
        f"{card.access.instructions} Page: {card.access.url}.{looked}"
    )


def _fill(raw: Path, archives: Iterator[tuple[Path, Archive]]) -> None:
    """Unpack all archives aside and put the folder in place at once."""
    with _folder_aside(raw) as aside:
        for path, archive in archives:
            unpack(path, archive, aside)


@contextmanager
def _folder_aside(target: Path) -> Iterator[Path]:
    aside = target.with_name(f".{os.getpid()}.{target.name}")
    aside.mkdir(parents=True)
    try:
        yield aside
        if target.exists():
            shutil.rmtree(target)
        os.replace(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
