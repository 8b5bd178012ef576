"""Being told to stop: a training saves its state at the next step and leaves with a status.

A batch system announces the end of a job's time by SIGTERM, or by SIGUSR1 where it is asked to; a
person presses Ctrl-C, which is SIGINT, and a second time where it takes too long.
"""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

STATUS = 75
"""Exit status: stopped on request, run it again to go on. EX_TEMPFAIL of sysexits.h."""

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

Handler = Callable[[int, FrameType | None], object] | int | None
"""What Python's `signal` takes and gives: a function, or one of its constants."""


class Interrupted(SystemExit):
    """The training stopped on request and its state is saved; ends the process with `STATUS`."""

    def __init__(self) -> None:
        super().__init__(STATUS)


class Notice:
    """Within its block, a signal to stop is noted instead of ending the process.

    Attributes:
        received: name of the last signal, "" before any.
    """

    def __init__(self) -> None:
        self.received = ""
        self.before: dict[signal.Signals, Handler] = {}

    def __enter__(self) -> "Notice":
        if threading.current_thread() is threading.main_thread():  # Python allows no other
            self.before = {each: signal.signal(each, self._note) for each in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each, handler in self.before.items():
            signal.signal(each, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name


def leave_to_parent(_: int) -> None:
    """For a loader's process: signals to stop go to the whole job, and its parent acts on them."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
