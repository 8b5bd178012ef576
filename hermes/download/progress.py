"""How far a dataset's transfers are: a bar on a terminal, a plain line now and then elsewhere."""

import logging
import threading
import time
from types import TracebackType

from hermes.download.files import DownloadError
from hermes.download.sizes import Size, plain
from hermes.jobs.bars import TerminalBar

log = logging.getLogger(__name__)

EVERY_S = 30.0
"""ASSUME: seconds between two lines in a log; a night's transfer then has a thousand."""


class Progress:
    """The transfers of one dataset, told as one. Files may be fetched by several threads."""

    def __init__(self, title: str, total: Size, every_s: float = EVERY_S) -> None:
        """Args: the dataset's title, what is to be fetched, seconds between two lines."""
        self._title, self._total, self._every_s = title, total, every_s
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._sizes: dict[str, int] = {}
        self._done, self._came = 0, 0
        self._begun = self._told = time.monotonic()
        known = total.bytes if not total.unknown else None
        self._bar = TerminalBar(title, known, "B", scaled=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._bar.close()
        if error is None and self._came:
            log.info("%s: %s fetched%s", self._title, plain(self._done), self._rate())

    def begin(self, name: str, size: int) -> None:
        """Count what an earlier run left of a file; it is no part of the rate."""
        with self._lock:
            self._move(name, size)

    def at(self, name: str, size: int) -> None:
        """Count a file's bytes so far; fewer than before where it was begun afresh.

        Raises:
            DownloadError: another file failed, and this one need not go on.
        """
        if self._stopped.is_set():
            raise DownloadError(f"{name}: stopped, since another file failed")
        with self._lock:
            self._came += max(0, self._move(name, size))
            now = time.monotonic()
            if self._bar.disable and now - self._told >= self._every_s:
                self._told = now
                log.info(
                    "%s: %s of %s%s", self._title, plain(self._done), self._total, self._rate()
                )

    def stop(self) -> None:
        """Let the other files' transfers end at their next bytes."""
        self._stopped.set()

    def _move(self, name: str, size: int) -> int:
        step = size - self._sizes.get(name, 0)
        self._sizes[name] = size
        self._done += step
        self._bar.update(step)
        return step

    def _rate(self) -> str:
        elapsed = time.monotonic() - self._begun
        return f", {plain(self._came / elapsed)}/s" if elapsed > 0 else ""
