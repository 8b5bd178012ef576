"""The stage: fetch a card's archives, unpack them, write the manifest."""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hermes.config.registry import load_card
from hermes.config.schema import Archive, Card
from hermes.download.archives import describe, offered
from hermes.download.check import checksum_of
from hermes.download.fetch import FIRST_PAUSE_S
from hermes.download.files import (
    Damaged,
    DownloadError,
    build_manifest,
    full_disk_told,
    write_json,
)
from hermes.download.mirror import read_mirror
from hermes.download.needs import consent_needed
from hermes.download.obtain import Setting, lacking, obtain, stop_on
from hermes.download.places import KAGGLE, SYNAPSE
from hermes.download.sizes import Size, check_room, counted
from hermes.download.state import TO_FILL, record_of, state
from hermes.download.unpack import unpack, unpacked_bytes

log = logging.getLogger(__name__)


def run(
    *,
    card: str | Path,
    raw: str | Path,
    manifest: str | Path,
    cache: str | Path,
    mirror: str = "",
    accept: Sequence[str] = (),
    columns: Mapping[str, Sequence[str]] | None = None,
    connections: int = 4,
    workers: int = 2,
    synapse: str = SYNAPSE,
    kaggle: str = KAGGLE,
    pause_s: float = FIRST_PAUSE_S,
) -> None:
    """Fill a dataset's raw folder and write its manifest.

    Files that a person put into the raw folder are left as they are and listed (source "copy").
    A folder that an earlier run filled is taken as it is if the card still names the same
    archives, and made anew if not. No dataset is used whose terms must be accepted and are not.

    Args:
        card: the dataset's card.
        raw: its raw folder.
        manifest: JSON file to write: dataset, source, archives, files (path, bytes, sha256).
        cache: folder for archives, shared by datasets.
        mirror: folder or base address whose files stand in for any address or package, by file
            name; "": that of the environment variable HERMES_MIRROR, if any.
        accept: datasets whose terms are accepted; `<dataset>:unofficial` with unofficial copies.
        columns: table -> titles of its columns that are made of the dataset, for messages.
        connections: files fetched at the same time.
        workers: files read at the same time.
        synapse: base address of Synapse.
        kaggle: base address of Kaggle.
        pause_s: seconds before the first retry of a transfer.

    Raises:
        DownloadError: a file cannot be had or is not what the card says; terms are not accepted;
            a token or a person's own copy is missing; a disk is too small.
    """
    dataset, manifest, raw = load_card(card), Path(manifest), Path(raw).resolve()
    _announce(dataset)
    archives = offered(dataset, accept)
    source = state(raw, manifest, dataset, archives)
    setting = Setting(
        raw,
        Path(cache),
        read_mirror(mirror),
        columns or {},
        connections,
        workers,
        synapse,
        kaggle,
        pause_s,
    )
    to_fill = source in TO_FILL
    consent = consent_needed(dataset, accept, source == "unofficial")
    copy = lacking(dataset, setting, archives) if to_fill else None
    stop_on([consent, copy], dataset, setting.columns)
    if to_fill:
        _fill(dataset, setting, archives, obtain(dataset, setting, archives))
        source = "download"
    fetched = describe(archives) if source == "download" else []
    with full_disk_told(f"{manifest}: not written"):
        content = build_manifest(dataset.name, source, raw, fetched, workers)
        if source == "download":
            write_json(record_of(manifest), content)
        write_json(manifest, content)
    log.info("%s: %s listed in %s", dataset.title, counted(len(content["files"])), manifest)


def _announce(card: Card) -> None:
    """Say whose the data are, and under what terms, before the first byte."""
    terms = " ".join(filter(None, (card.licence.name, card.licence.url, card.licence.note)))
    log.info("%s: licence: %s", card.title, terms)
    log.info("%s: to cite: %s", card.title, " ".join(filter(None, (card.citation, card.doi))))


def _fill(card: Card, setting: Setting, archives: list[Archive], paths: list[Path]) -> None:
    """Unpack all archives aside and put the folder in place at once."""
    raw, cache = setting.raw, setting.cache
    pairs = list(zip(paths, archives, strict=True))
    unpacked = sum(_bytes_of(path, a, cache) for path, a in pairs if a.unpack != "none")
    rough = any(archive.unpack == "tar" for archive in archives)
    check_room(card.title, (raw, Size()), (raw, Size(unpacked, about=rough)))
    kept = f"{card.title}: not unpacked; its archives are kept"
    with full_disk_told(kept), _folder_aside(raw) as aside:
        for path, archive in pairs:
            with _damaged_dropped(path, archive, cache):
                unpack(path, archive, aside)


def _bytes_of(path: Path, archive: Archive, cache: Path) -> int:
    with _damaged_dropped(path, archive, cache):
        return unpacked_bytes(path, archive)


@contextmanager
def _damaged_dropped(path: Path, archive: Archive, cache: Path) -> Iterator[None]:
    """Remove an archive that turns out unreadable from the cache, so that it is fetched anew.

    One that has the card's checksum is what its owners give out, so the card is wrong; one in a
    mirror folder is a person's.
    """
    try:
        yield
    except Damaged as damaged:
        if any(checksum_of(archive)):
            ending = "yet its checksum is the card's: look whether the card's `unpack` is right"
        elif path.parent.resolve() == cache.resolve():
            path.unlink()
            ending = "removed; run again to fetch it anew"
        else:
            ending = "put a whole one in its place, or remove it to have it fetched"
        raise DownloadError(f"{damaged}; {ending}") from damaged


@contextmanager
def _folder_aside(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target` that takes its place when the block succeeds."""
    aside = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
    aside.mkdir(parents=True)
    try:
        yield aside
        if target.exists():
            shutil.rmtree(target)
        aside.replace(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
