"""How far a job is: a bar where a terminal watches, a plain line now and then elsewhere.

Of the jobs that share a terminal one has a bar at a time; lines that the others write take the
bar's place, and it is drawn anew below.
"""

import contextlib
import fcntl
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

logger = logging.getLogger(__name__)

EVERY_S = 60.0
"""ASSUME: seconds between two lines where no bar is shown; an hour's job then has sixty."""

ERASE = "\r\x1b[K"
"""Makes a terminal erase the line that it stands in."""

Item = TypeVar("Item")


class TerminalBar(tqdm):
    """A bar of which a terminal has one at a time; `disable` says that there is none."""

    _terminal: int | None = None

    def __init__(
        self, title: str, total: int | None, unit: str, initial: int = 0, scaled: bool = False
    ) -> None:
        """Args: the title, how many of what, how many are done, whether to write 1k for 1,000."""
        self._terminal = _take_terminal()
        super().__init__(
            desc=title,
            total=total,
            unit=unit,
            initial=initial,
            unit_scale=scaled,
            disable=self._terminal is None,
            leave=False,
            dynamic_ncols=True,
        )

    def close(self) -> None:
        """Remove the bar, and let another job have one."""
        super().close()
        if self._terminal is not None:
            # also for processes that were forked meanwhile and hold the same file
            with contextlib.suppress(OSError):
                fcntl.flock(self._terminal, fcntl.LOCK_UN)
            os.close(self._terminal)
            self._terminal = None


class Bar:
    """Progress of a known number of things: a bar, or a line every so many seconds."""

    def __init__(
        self, title: str, total: int, unit: str, initial: int = 0, every_s: float = EVERY_S
    ) -> None:
        """Args: the title, how many of what, how many of them are done, seconds between lines."""
        self._title, self._total, self._unit, self._every_s = title, total, unit, every_s
        self._done, self._told = initial, time.monotonic()
        self._bar = TerminalBar(title, total, unit, initial)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def update(self) -> None:
        """One more is done."""
        self._done += 1
        self._bar.update()
        now = time.monotonic()
        due = self._bar.disable and now - self._told >= self._every_s
        if due and self._done < self._total:
            self._told = now
            logger.info("%s: %d of %d %ss", self._title, self._done, self._total, self._unit)


def barred(items: Iterable[Item], bar: Bar) -> Iterator[Item]:
    """The items, each counted as done when the next one is asked for."""
    with bar:
        for item in items:
            yield item
            bar.update()


def _take_terminal() -> int | None:
    """A file that holds the right to a bar; None: no terminal, or another job's bar is on it.

    It is opened anew, since jobs of one parent share what they write to, and its lock with it.
    """
    try:
        name = os.ttyname(sys.stderr.fileno())
        opened = os.open(name, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError, AttributeError):
        return None
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(opened)
        return None
    except OSError:  # a system that locks no terminals: bars may meet there
        return opened
    return opened


class LineHandler(logging.StreamHandler):
    """Writes lines to standard error; on a terminal, in the place of a bar."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, as the formatter makes it."""
        text = super().format(record)
        return f"{ERASE}{text}" if self.stream.isatty() else text
