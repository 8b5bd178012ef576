"""How the datasets of a study stand, before anything is asked of a network: for a dry run.

    text = report("paper", survey(cards, ...), free_bytes(Path("data")))

Only the disk is looked at: manifests, raw folders, the cache, a mirror folder, tokens.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hermes.config.schema import Archive, Card
from hermes.download.archives import offered
from hermes.download.fetch import part_of
from hermes.download.files import DownloadError, list_files, size_of_file
from hermes.download.mirror import Mirror
from hermes.download.needs import Need, consent_needed, copy_needed, fetchable, without
from hermes.download.sizes import (
    Size,
    check_room,
    counted,
    left_of,
    plain,
    size_of_archive,
    unpacked_of,
)
from hermes.download.state import TO_FILL, state

EARLIER = {
    "incomplete": "files of a download are gone: ",
    "outdated": "of other archives than the card names now: ",
}
"""State of a raw folder -> why it is filled anew."""


@dataclass(frozen=True)
class Standing:
    """How one dataset stands."""

    name: str
    title: str
    in_place: bool  # listed, by whichever card
    to_fill: bool = False  # by a download, when it is needed
    words: str = ""  # what is going to happen, or has to
    needs: tuple[Need, ...] = ()
    left: Mapping[str, Size] = field(default_factory=dict)  # archive -> what is to be fetched
    unpacked: Size = field(default_factory=Size)
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)  # table -> titles


def survey(
    cards: Mapping[str, Card],
    data: Path,
    cache: Path,
    mirror: Mirror,
    accept: Collection[str],
    columns: Mapping[str, Mapping[str, Sequence[str]]],
) -> list[Standing]:
    """Look how the datasets of a study stand.

    Args:
        cards: the study's.
        data: its folder of data; raw folders and manifests lie in `raw` below it.
        cache: folder of archives.
        mirror: where files are looked for before anything is fetched.
        accept: the configuration's list `accept`.
        columns: dataset -> table -> titles of its columns that are made of it.
    """
    return [
        _stand(card, data / "raw", cache, mirror, accept, columns.get(name, {}))
        for name, card in cards.items()
    ]


def _stand(
    card: Card,
    folder: Path,
    cache: Path,
    mirror: Mirror,
    accept: Collection[str],
    columns: Mapping[str, Sequence[str]],
) -> Standing:
    raw, manifest = folder / card.name, folder / f"{card.name}.json"
    archives = offered(card, accept)
    source = state(raw, manifest, card, archives)
    listed = manifest.is_file()
    consent = consent_needed(card, accept, source == "unofficial")
    found = Standing(card.name, card.title, listed, needs=_given(consent), columns=columns)
    if listed and source != "outdated":  # the workflow takes what is listed as it is
        return replace(found, words=_changed(manifest, list_files(raw), source))
    if source not in TO_FILL:
        return replace(found, words=f"{counted(len(list_files(raw)))}, to list")
    absent = [archive for archive in archives if mirror.stored(archive, cache) is None]
    missing = None if archives and mirror.base else _missing(card, archives, absent, raw)
    words = _to_come(archives, absent, cache)
    return replace(
        found,
        to_fill=True,
        words=f"{EARLIER.get(source, '')}{words}",
        needs=_given(consent, missing),
        left={archive.filename: _left(archive, cache) for archive in absent},
        unpacked=sum(map(unpacked_of, archives), Size()),
    )


def _given(*needs: Need | None) -> tuple[Need, ...]:
    return tuple(need for need in needs if need)


def _missing(card: Card, archives: list[Archive], absent: list[Archive], raw: Path) -> Need | None:
    try:
        return copy_needed(card, archives, [a for a in absent if not fetchable(a)], raw)
    except DownloadError as error:  # a file of credentials that cannot be read
        return Need(str(error), str(error))


def _changed(manifest: Path, files: list[str], source: str) -> str:
    """Say that files came or went since they were listed; "" where they did not."""
    listed = json.loads(manifest.read_text("utf-8"))
    count = len({entry["path"] for entry in listed["files"]} ^ set(files))
    anew = f"to have them anew: rm {manifest}"
    what = anew if source in TO_FILL else "a run lists them again"
    told = f"{counted(count)} came or went since they were listed; {what}"
    return told if count else ""


def _left(archive: Archive, cache: Path) -> Size:
    return left_of(size_of_archive(archive), size_of_file(part_of(cache / archive.filename)))


def _to_come(archives: list[Archive], absent: list[Archive], cache: Path) -> str:
    if not archives:
        return "not fetched"
    if not absent:
        return "archives here, to unpack"
    left = sum((_left(archive, cache) for archive in absent), Size())
    whole = sum((size_of_archive(archive) for archive in archives), Size())
    partly = left.bytes < whole.bytes
    return f"{left} of {plain(whole.bytes)} to fetch" if partly else f"{left} to fetch"


def report(study: str, standings: Sequence[Standing], free: int, accept: Sequence[str] = ()) -> str:
    """Say in plain words what of a study is not in place, and what a person has to do.

    Args:
        study: its name.
        standings: of `survey`.
        free: bytes of room on the disk of the data.
        accept: the configuration's list `accept`.

    Returns:
        Some lines; "" where everything is in place and as it was listed.
    """
    open_ones = [s for s in standings if not s.in_place or s.words or s.needs]
    if not open_ones:
        return ""
    placed = sum(standing.in_place and not standing.to_fill for standing in standings)
    lines = [f"Datasets of the study {study}: {placed} of {len(standings)} are in place."]
    open_ones = _shared(open_ones)
    width = max(len(standing.title) for standing in open_ones)
    aligned = [s for s in open_ones if s.needs or s.to_fill or not s.in_place]
    wide = max((len(standing.words or "in place") for standing in aligned), default=0)
    for standing in open_ones:
        needed = ", ".join(need.short for need in standing.needs)
        words = standing.words or "in place"
        row = f"  {standing.title:{width}}  {words:{wide}}"
        lines.append(f"{row}  needs {needed}" if needed else row.rstrip())
    lines += [*_totals(open_ones, free), *_advice(open_ones, accept)]
    return "\n".join(lines)


def _shared(standings: list[Standing]) -> list[Standing]:
    """Say of a dataset whose archives come with another's that they do."""
    owners: dict[str, str] = {}
    told = []
    for standing in standings:
        first = {owners.setdefault(name, standing.title) for name in standing.left}
        if first and standing.title not in first:
            words = f"{standing.words}, with {' and '.join(sorted(first))}"
            standing = replace(standing, words=words)
        told.append(standing)
    return told


def check_total(standings: Sequence[Standing], cache: Path, data: Path) -> None:
    """Stop where the datasets that a run is going to fetch do not fit together.

    Args:
        standings: of those datasets.
        cache: folder of archives.
        data: the study's folder of data.

    Raises:
        DownloadError: a disk is too small for all of them, be it large enough for each.
    """
    left, unpacked = _total(standings)
    titles = ", ".join(standing.title for standing in standings if standing.to_fill)
    check_room(titles, (cache, left), (data / "raw", unpacked))


def _total(standings: Sequence[Standing]) -> tuple[Size, Size]:
    """Add up what is to be fetched and unpacked; an archive of two datasets is fetched once."""
    left = {name: size for standing in standings for name, size in standing.left.items()}
    return sum(left.values(), Size()), sum((s.unpacked for s in standings), Size())


def _totals(standings: list[Standing], free: int) -> list[str]:
    left, unpacked = _total(standings)
    if left == Size() == unpacked:
        return []
    short = left.bytes + unpacked.bytes - free
    missing = f": {plain(short)} too few" if short > 0 else ""
    return [f"In all {left} to fetch, {unpacked} unpacked; {plain(free)} are free{missing}."]


def _advice(standings: list[Standing], accept: Sequence[str]) -> list[str]:
    consents = [need.accept for s in standings for need in s.needs if need.accept]
    lines = []
    if consents:
        together = ",".join([*accept, *consents])
        lines.append(f"Terms, to accept once you have read them: --config accept={together}")
    others = [s for s in standings if any(not need.accept for need in s.needs)]
    if others:
        lines.append(
            "How: `instructions` in config/datasets/NAME.yaml, printed when a run is started."
        )
        lost: dict[str, list[str]] = {}
        for table, titles in (item for s in others for item in s.columns.items()):
            lost[table] = list(dict.fromkeys([*lost.get(table, []), *titles]))
        lines.append(without([standing.name for standing in others], lost))
    return lines
