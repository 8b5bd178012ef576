"""Cases in parallel: one that fails, or whose process is killed, takes no other with it.

A disk without room is no failure of a case: it ends the stage.
"""

import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from hermes.files.atomic import WriteError
from hermes.jobs.bars import Bar

logger = logging.getLogger(__name__)

KILLED = "its process was killed; was memory short?"
"""Why a case failed that the system ended when it was alone."""

Job = TypeVar("Job")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Outcome(Generic[Found]):
    """What became of one case: what its work returned, or the reason why it failed."""

    case: str
    found: Found | None = None
    reason: str = ""
    details: str = ""  # traceback of an error that no check foresaw


def run_cases(
    work: Callable[[Job], Found],
    jobs: Mapping[str, Job],
    workers: int,
    title: str,
    expected: tuple[type[Exception], ...],
    *,
    initializer: Callable[[], Any] | None = None,
    tell: Callable[[Outcome], None] | None = None,
) -> list[Outcome[Found]]:
    """Do every case, each in one of `workers` processes; outcomes in the order of `jobs`.

    When the system kills a process, mostly for want of memory, the cases that were lost are done
    again by half as many; a case that is killed when it is alone has failed.

    Args:
        work: takes a case's job and returns anything but None; must be importable, and jobs and
            what it returns must pickle, for they are sent between processes.
        jobs: by the case's name.
        workers: processes.
        title: of the progress bar.
        expected: errors whose message says all there is to say.
        initializer: called first in every process.
        tell: logs an outcome; the default logs failures.

    Raises WriteError: of the first case whose files cannot be written; no further one is begun.
    """
    attempt = partial(_attempt, work, expected)
    done: dict[str, Outcome[Found]] = {}
    with Bar(title, len(jobs), "case") as bar:
        for outcome in _outcomes(attempt, dict(jobs), min(workers, len(jobs)), initializer):
            done[outcome.case] = outcome
            bar.update()
            (tell or partial(log_failure, title))(outcome)
    return [done[case] for case in jobs]


def _outcomes(
    attempt: Callable[[str, Job], Outcome[Found]],
    jobs: dict[str, Job],
    workers: int,
    initializer: Callable[[], Any] | None,
) -> Iterator[Outcome[Found]]:
    while jobs:
        lost = {}
        with ProcessPoolExecutor(workers, initializer=initializer) as pool:
            for case, future in _submitted(pool, attempt, jobs).items():
                try:
                    yield future.result()
                except BrokenProcessPool:
                    lost[case] = jobs[case]
                except WriteError:
                    pool.shutdown(cancel_futures=True)
                    raise
        if lost and workers == 1:  # cases come one by one: the first one lost is the one killed
            killed = next(iter(lost))
            del lost[killed]
            yield Outcome(killed, reason=KILLED)
        elif lost:
            logger.warning("a process was killed; %d cases again by fewer processes", len(lost))
        jobs, workers = lost, max(1, workers // 2)


def _submitted(
    pool: ProcessPoolExecutor,
    attempt: Callable[[str, Job], Outcome[Found]],
    jobs: Mapping[str, Job],
) -> dict[str, Future]:
    futures: dict[str, Future] = {}
    for case, job in jobs.items():
        try:
            futures[case] = pool.submit(attempt, case, job)
        except BrokenProcessPool as error:  # a process was killed while jobs were handed over
            futures[case] = Future()
            futures[case].set_exception(error)
    return futures


def _attempt(
    work: Callable[[Job], Found], expected: tuple[type[Exception], ...], case: str, job: Job
) -> Outcome[Found]:
    try:
        return Outcome(case, work(job))
    except WriteError:
        raise
    except expected as error:
        return Outcome(case, reason=str(error))
    except Exception as error:
        reason = f"unexpected {type(error).__name__}: {error}"
        return Outcome(case, reason=reason, details=traceback.format_exc())


def log_failure(title: str, outcome: Outcome) -> None:
    """Log a case that failed, and where an error that no check foresaw came from."""
    if outcome.details:
        logger.error("%s: %s:\n%s", title, outcome.case, outcome.details)
    if outcome.reason:
        logger.error("%s: %s failed: %s", title, outcome.case, outcome.reason)
