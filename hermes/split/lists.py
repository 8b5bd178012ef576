"""The published code's split lists: fetched, read as literals (never run), checked.

One file of the published code assigns a dictionary of lists to a name. The commit in its address
pins what is fetched, and `config/published/split_lists.yaml` says what must be in it.
"""

import ast
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from pydantic import Field

from hermes.config.registry import read_yaml, validate
from hermes.config.schema import Archive, Closed
from hermes.download.fetch import fetch
from hermes.download.files import DownloadError, locked, write_json
from hermes.download.mirror import read_mirror
from hermes.download.places import Absent, Place, address, mirrored
from hermes.download.progress import Progress
from hermes.download.sizes import Size
from hermes.split.reference import Lists
from hermes.split.rule import SIDES

logger = logging.getLogger(__name__)


class Source(Closed):
    """Where published split lists are, and what is known of them."""

    url: str = Field(description="https address of the file; a commit in it pins the content")
    filename: str = Field(description="its name in the cache and in the mirror folder")
    assignment: str = Field(description="name that the dictionary of lists is assigned to")
    counts: dict[str, tuple[int, int, int]] = Field(
        description="key -> entries of the lists <key>_train, <key>_val, <key>_test"
    )
    sha256: str = Field(description="of the lists' content, see `content_sha256`")

    def sizes(self) -> dict[str, int]:
        """List -> entries that it must hold."""
        return {
            f"{key}_{side}": count
            for key, counts in self.counts.items()
            for side, count in zip(SIDES, counts, strict=True)
        }


def run(*, source: str | Path, out: str | Path, cache: str | Path, mirror: str = "") -> None:
    """Write the published lists as JSON: `lists`, and where they came from.

    Args:
        source: YAML file with what `Source` describes.
        out: JSON file to write.
        cache: folder of fetched files.
        mirror: folder or address where a file of the same name stands in; "": none.

    Raises:
        DownloadError: the file cannot be had, or is not the one whose lists are known.
    """
    known = validate(Source, read_yaml(Path(source)), Path(source))
    path = _obtain(known, Path(cache), mirror, str(source))
    lists = read_checked(path, known, str(path), str(source))
    content = {"url": known.url, "content_sha256": known.sha256, "lists": lists}
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    write_json(Path(out), content)
    logger.info("%s: %d published lists", path, len(lists))


def _obtain(known: Source, cache: Path, mirror: str, source: str) -> Path:
    """Where the file is: in the mirror, in the cache, or fetched into it and checked."""
    archive, by = Archive(url=known.url, filename=known.filename), read_mirror(mirror)
    here = by.stored(archive, cache)
    if here:
        return here
    target = cache / known.filename
    with locked(target), Progress("published split lists", Size(unknown=1)) as progress:
        if by.base:
            try:
                _transfer(mirrored(by.base, known.filename), target, known, progress, source)
                return target
            except Absent as absent:
                logger.info("%s", absent)
        _transfer(address(known.url), target, known, progress, source)
    return target


def _transfer(place: Place, target: Path, known: Source, progress: Progress, source: str) -> None:
    def check(part: Path) -> None:
        read_checked(part, known, place.name, source)

    fetch(place, target, progress, check=check)


def read_checked(path: Path, known: Source, name: str, source: str) -> Lists:
    """The lists of a file, once they are the known ones.

    Args:
        path: the file.
        known: what must be in it.
        name: what messages call the file.
        source: the file that `known` was read from, for messages.

    Raises:
        DownloadError: what differs, and what to do.
    """
    lists = read_lists(path, known.assignment, name)
    sizes = known.sizes()
    names = sorted(set(sizes) ^ set(lists))
    differing = [
        f"{name} has {len(lists[name])} entries instead of {count}"
        for name, count in sizes.items()
        if name in lists and len(lists[name]) != count
    ]
    if names:
        differing.append(f"lists missing or not expected: {', '.join(names)}")
    if differing:
        raise DownloadError(
            f"{name}: not the split lists that are known: {'; '.join(differing)}. Take the file of "
            f"{known.url}"
        )
    found = content_sha256(lists)
    if found != known.sha256:
        raise DownloadError(
            f"{name}: each of the {len(lists)} split lists has as many entries as expected, but "
            f"what they hold has the sha256 {found}; {source} expects {known.sha256}. Compare the "
            f"file with {known.url}, which names the commit. If its lists differ, put the one of "
            f"that address in its place; if they are the same, the expected value is wrong: "
            f"write `sha256: {found}` into {source} and run this again"
        )
    return lists


def read_lists(path: Path, assignment: str, name: str) -> Lists:
    """The dictionary of lists that a Python file assigns to a name; nothing in it is executed.

    Raises:
        DownloadError: no such assignment, or its value is no dictionary of names or numbers.
    """
    try:
        tree = ast.parse(path.read_text("utf-8"))
        values = [
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign)
            and any(isinstance(t, ast.Name) and t.id == assignment for t in node.targets)
        ]
    except (SyntaxError, ValueError, RecursionError) as error:
        raise DownloadError(f"{name}: cannot be read as literals: {error}") from error
    if len(values) != 1 or not _is_lists(values[0]):
        raise DownloadError(f"{name}: {assignment!r} is not assigned a dictionary of lists, once")
    return values[0]


def _is_lists(value: Any) -> bool:
    """Whether every list holds names alone or numbers alone, so that it can be sorted."""
    return isinstance(value, dict) and all(
        isinstance(key, str)
        and isinstance(entries, list)
        and len({type(entry) for entry in entries}) <= 1
        and all(type(entry) in (int, str) for entry in entries)
        for key, entries in value.items()
    )


def content_sha256(lists: Lists) -> str:
    """Checksum of what the lists hold, whatever the order and the layout of the file.

    >>> content_sha256({"b": [2, 1], "a": ["x"]}) == content_sha256({"a": ["x"], "b": [1, 2]})
    True
    """
    text = json.dumps({name: sorted(entries) for name, entries in lists.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
