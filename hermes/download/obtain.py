"""A card's archives, each in the cache or where else it lies: looked for, asked for, checked."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from hermes.config.schema import Archive, Card
from hermes.download.check import check_archive
from hermes.download.fetch import fetch, most_bytes, part_of, size_served
from hermes.download.files import DownloadError, locked, size_of_file
from hermes.download.mirror import Mirror
from hermes.download.needs import Need, copy_needed, fetchable, without
from hermes.download.places import Absent, Place, mirrored, place_of
from hermes.download.progress import Progress
from hermes.download.sizes import Size, check_room, left_of, size_of_archive, unpacked_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setting:
    """What a run goes by beside the card; as the arguments of `hermes.download.run`."""

    raw: Path
    cache: Path
    mirror: Mirror
    columns: Mapping[str, Sequence[str]]
    connections: int
    workers: int
    synapse: str
    kaggle: str
    pause_s: float


def stop_on(needs: Sequence[Need | None], card: Card, columns: Mapping[str, Sequence[str]]) -> None:
    """Raise what a person has to do, and how to go on without the dataset, if there is a need."""
    texts = [need.text for need in needs if need]
    if texts:
        raise DownloadError("\n".join([*texts, without([card.name], columns)]))


def lacking(card: Card, setting: Setting, archives: Sequence[Archive]) -> Need | None:
    """Say what a person must bring before archives can be had; nothing where nothing.

    A mirror on the web may have what is lacking, so it is asked first (by `obtain`).
    """
    if archives and setting.mirror.base:
        return None
    absent = [a for a in archives if not setting.mirror.stored(a, setting.cache)]
    return copy_needed(card, archives, [a for a in absent if not fetchable(a)], setting.raw)


def obtain(card: Card, setting: Setting, archives: list[Archive]) -> list[Path]:
    """Return where each archive lies, checked; fetched where it has to be.

    Args:
        card: the dataset's.
        setting: of the run.
        archives: files of the card that may be used.

    Raises:
        DownloadError: the disk is too small; a file cannot be had or is another one.
    """
    stored = [(archive, setting.mirror.stored(archive, setting.cache)) for archive in archives]
    found = [(archive, path) for archive, path in stored if path]
    with ThreadPoolExecutor(setting.workers) as pool:
        list(pool.map(lambda pair: check_archive(pair[1], pair[0]), found))
    here = {archive.filename: path for archive, path in found}
    wanted = [archive for archive in archives if archive.filename not in here]
    total = _make_sure_of_room(card, setting, wanted)
    with Progress(card.title, total) as progress:
        here |= _fetch_all(card, setting, wanted, progress)
    return [here[archive.filename] for archive in archives]


def _make_sure_of_room(card: Card, setting: Setting, wanted: list[Archive]) -> Size:
    """Stop before the first byte where a disk is too small; returns what the files have in all."""
    with ThreadPoolExecutor(setting.connections) as pool:
        sizes = list(pool.map(lambda archive: _size(card, setting, archive), wanted))
    left, unpacked = Size(), Size()
    for archive, size in zip(wanted, sizes, strict=True):
        left += left_of(size, size_of_file(part_of(setting.cache / archive.filename)))
        unpacked += unpacked_of(archive, size)
    check_room(card.title, (setting.cache, left), (setting.raw, unpacked))
    return sum(sizes, Size())


def _size(card: Card, setting: Setting, archive: Archive) -> Size:
    """Return an archive's size; its server is asked where the card does not say it.

    ASSUME: of many numbered files a rough size will do, so that they are not asked for one by one.
    """
    many = archive.numbers and archive.about_bytes is not None
    if (
        archive.bytes is not None
        or many
        or archive.package
        or setting.mirror.base
        or not fetchable(archive)
    ):
        return size_of_archive(archive)
    place = _place(card, setting, archive)
    served = size_of_file(place) if isinstance(place, Path) else size_served(place)
    return size_of_archive(archive, served)


def _fetch_all(
    card: Card, setting: Setting, wanted: list[Archive], progress: Progress
) -> dict[str, Path]:
    """Fetch files side by side; where one fails, or a person stops the run, the others end too."""
    with ThreadPoolExecutor(setting.connections) as pool:
        futures = {
            pool.submit(_fetch, card, setting, archive, progress): archive.filename
            for archive in wanted
        }
        try:
            return {futures[future]: future.result() for future in as_completed(futures)}
        except BaseException:
            progress.stop()
            for future in futures:
                future.cancel()
            raise


def _fetch(card: Card, setting: Setting, archive: Archive, progress: Progress) -> Path:
    """Return an archive's place in the cache (or in a local package index), fetched and checked."""
    target = setting.cache / archive.filename
    with locked(target):
        if target.is_file():  # another dataset fetched it meanwhile
            check_archive(target, archive)
            return target
        if setting.mirror.base:
            place = mirrored(setting.mirror.base, archive.filename)
            try:
                _transfer(place, target, archive, progress, setting.pause_s)
                return target
            except Absent as absent:
                log.info("%s", absent)
            unknown = [] if fetchable(archive) else [archive]
            need = copy_needed(card, [archive], unknown, setting.raw)
            stop_on([need], card, setting.columns)
        place = _place(card, setting, archive)
        if isinstance(place, Path):
            check_archive(place, archive)
            return place
        _transfer(place, target, archive, progress, setting.pause_s)
    return target


def _place(card: Card, setting: Setting, archive: Archive) -> Place | Path:
    return place_of(archive, card.access.url, setting.synapse, setting.kaggle)


def _transfer(
    place: Place, target: Path, archive: Archive, progress: Progress, pause_s: float
) -> None:
    log.log(logging.DEBUG if archive.numbers else logging.INFO, "fetching %s", place.name)
    fetch(
        place,
        target,
        progress,
        check=lambda part: check_archive(part, archive, place.name, arrived=True),
        expected=archive.bytes,
        most=most_bytes(archive),
        pause_s=pause_s,
    )
