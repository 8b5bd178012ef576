"""One file over HTTP: resumed where it broke off, retried with back-off, whole or absent."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3

from hermes.config.schema import Archive
from hermes.download.files import CHUNK, DownloadError, full_disk_told, size_of_file
from hermes.download.places import Broken, Place
from hermes.download.progress import Progress
from hermes.download.sizes import plain

log = logging.getLogger(__name__)

ATTEMPTS = 8
"""ASSUME: a server that fails eight times in a row without sending a byte stays away."""

FIRST_PAUSE_S = 1.0
"""Seconds before the first retry; doubled each time."""

LONGEST_PAUSE_S = 60.0
"""ASSUME: a longer pause gains nothing; the last retry is then made after two minutes in all."""

LONGEST_WAIT_S = 600.0
"""ASSUME: a server's own wish to be left alone is granted up to ten minutes."""

TIMES, TIMES_THE_MEAN = 2, 20
"""ASSUME: a rough size is right within a factor of two; of numbered files it is the mean, and
the largest is within a factor of twenty. More bytes are another file."""

LOOK = "it is another version or an error page; look whether the card's address and size still hold"

PLAIN = {"Accept-Encoding": "identity"}
"""Header that asks for the file's own bytes."""


def fetch(
    place: Place,
    target: Path,
    progress: Progress,
    check: Callable[[Path], None],
    expected: int | None = None,
    most: int | None = None,
    pause_s: float = FIRST_PAUSE_S,
) -> None:
    """Fetch a file.

    The bytes gather in `<target>.part`, which a later call goes on from if the server still has
    the same file (its ETag or date is kept beside it). What fails the check is removed, and so is
    what grows beyond the bytes expected, announced or thinkable.

    Args:
        place: where it is asked for.
        target: where the whole file is put.
        progress: told of every byte.
        check: raises DownloadError where the file is not the one wanted.
        expected: bytes of the whole file, where they are known.
        most: bytes that it has at most, where they are not (`most_bytes`).
        pause_s: seconds before the first retry.

    Raises:
        DownloadError: the server refuses or keeps failing, another file came, the disk is full.
        Absent: the place has not got the file.
    """
    part = part_of(target)
    with (
        full_disk_told(f"{place.name}: what came is kept in {part}"),
        place.session() as session,
    ):
        progress.begin(part.name, size_of_file(part))
        try:
            Transfer(place, part, session, progress, expected, most).persist(pause_s)
        except TooLarge:
            _remove(part)
            raise
    try:
        check(part)
    except DownloadError:  # a wrong file is not gone on from
        _remove(part)
        raise
    part.replace(target)
    _tag_file(part).unlink(missing_ok=True)


class TooLarge(DownloadError):
    """More bytes came, or are announced, than the file can have."""


def most_bytes(archive: Archive) -> int | None:
    """Return the bytes that a file of a rough size has at most; nothing where no size is known."""
    if archive.about_bytes is None:
        return None
    return archive.about_bytes * (TIMES_THE_MEAN if archive.numbers else TIMES)


def part_of(target: Path) -> Path:
    """Return where the bytes of a file gather until it is whole."""
    return target.with_name(f"{target.name}.part")


def size_served(place: Place) -> int | None:
    """Return the bytes of a file, as its server says; nothing where it does not say.

    A store's address may allow no other method than GET, so one byte is asked for there.
    """
    stored = place.auth is not None
    headers = PLAIN | ({"Range": "bytes=0-0"} if stored else {})
    try:
        with (
            place.session() as session,
            place.ask(session, headers, "GET" if stored else "HEAD") as answer,
        ):
            return _whole(answer) if answer.status_code == 206 else _total(answer, 0)
    except (Broken, DownloadError):
        return None


@dataclass(frozen=True)
class Transfer:
    """The way of one file from a place into its part."""

    place: Place
    part: Path
    session: requests.Session
    progress: Progress
    expected: int | None = None
    most: int | None = None

    def persist(self, pause_s: float) -> None:
        """Try until the part is whole; a try that brought a byte counts as the first."""
        failures = 0
        while True:
            before = size_of_file(self.part)
            try:
                return self.once()
            except Broken as error:
                size = size_of_file(self.part)
                failures = 1 if size > before else failures + 1
                if failures >= ATTEMPTS:
                    raise DownloadError(
                        f"{self.place.name}: {error}; given up after {ATTEMPTS} tries without a "
                        f"byte, run again to go on from {size} bytes"
                    ) from None
                pause = min(pause_s * 2 ** (failures - 1), LONGEST_PAUSE_S)
                pause = max(pause, min(error.wait_s, LONGEST_WAIT_S))
                kept = f"{self.place.name}: {error}; {plain(size)} are kept"
                log.warning("%s, try %d of %d in %.0f s", kept, failures + 1, ATTEMPTS, pause)
                time.sleep(pause)

    def once(self) -> None:
        """Ask for what is missing and append it; the part is whole on return."""
        start, tag = size_of_file(self.part), _read_tag(self.part)
        resume = {"Range": f"bytes={start}-", "If-Range": tag} if start and tag else {}
        with self.place.ask(self.session, PLAIN | resume) as answer:
            if answer.headers.get("Content-Range") == f"bytes */{start}":
                return  # whole already: nothing lies beyond
            resumed = answer.status_code == 206
            if answer.status_code == 416 or (resumed and not _continues(answer, start)):
                self.part.unlink(missing_ok=True)
                raise Broken("the part kept does not fit the server's file; started afresh")
            start = start if resumed else 0
            total = _total(answer, start)
            self._compare(total)
            _tag_file(self.part).write_text(_tag_of(answer))
            self._append(answer, start, total)
        if total is not None and size_of_file(self.part) != total:
            raise Broken(f"{size_of_file(self.part)} of {total} bytes came")

    def _compare(self, total: int | None) -> None:
        if total is None:
            return
        if self.expected is not None and total != self.expected:
            raise DownloadError(
                f"{self.place.name}: the server's file has {total} bytes, but the card says "
                f"{self.expected}: {LOOK}"
            )
        if self.expected is None and self.most is not None and total > self.most:
            raise TooLarge(
                f"{self.place.name}: the server's file has {plain(total)}, but by the card's "
                f"about_bytes it has {plain(self.most)} at most: {LOOK}"
            )

    def _limit(self, total: int | None) -> tuple[int | float, str]:
        """Return the bytes that may come, and whose word that is."""
        limits = (
            (self.expected, "that the card says"),
            (total, "that the server announced"),
            (self.most, "that the file has at most by the card's about_bytes"),
        )
        return next(((n, whose) for n, whose in limits if n is not None), (math.inf, ""))

    def _append(self, answer: requests.Response, start: int, total: int | None) -> None:
        size, name = start, self.part.name
        limit, whose = self._limit(total)
        with open(self.part, "ab" if start else "wb") as handle:
            try:
                while chunk := answer.raw.read1(CHUNK):  # what is there, so that nothing is lost
                    size += len(chunk)
                    if size > limit:
                        raise TooLarge(
                            f"{self.place.name}: more came than the {plain(limit)} {whose}; "
                            f"nothing of it is kept: {LOOK}"
                        )
                    handle.write(chunk)
                    self.progress.at(name, size)
            except urllib3.exceptions.HTTPError as error:
                raise Broken(f"broke off ({type(error).__name__})") from None


def _continues(answer: requests.Response, start: int) -> bool:
    return answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _whole(answer: requests.Response) -> int | None:
    """Bytes of the whole file, where the server says them beside the range it gives."""
    whole = answer.headers.get("Content-Range", "").rpartition("/")[2]
    return int(whole) if whole.isdigit() else None


def _total(answer: requests.Response, start: int) -> int | None:
    """Bytes of the whole file, where the server says."""
    length = answer.headers.get("Content-Length", "")
    return _whole(answer) or (start + int(length) if length.isdigit() else None)


def _tag_of(answer: requests.Response) -> str:
    """What `If-Range` may hold: a strong ETag, else the date of the last change, else nothing."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def _remove(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)


def _tag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _read_tag(part: Path) -> str:
    tag = _tag_file(part)
    return tag.read_text() if tag.is_file() else ""
