"""Cases in parallel: one that fails, or whose process is killed, takes no other with it."""

import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial

import torch
from tqdm import tqdm

logger = logging.getLogger(__name__)

Row = dict[str, str]


@dataclass(frozen=True)
class Outcome:
    """What became of one case: what it has to say, or the reason why it failed."""

    case: str
    values: Row | None = None
    reason: str = ""
    details: str = ""  # traceback of an error that no check foresaw


def run_cases(
    work: Callable[[Row], Row],
    rows: Sequence[Row],
    workers: int,
    title: str,
    expected: tuple[type[Exception], ...],
) -> list[Outcome]:
    """Do every case, in `workers` processes of one thread each; outcomes in the order of `rows`.

    One thread, so that sums have the same order whatever the number of processes. When the system
    kills a process, mostly for want of memory, the cases that were lost are done again by half as
    many; a case that is killed when it is alone has failed.

    Args:
        work: takes a case's row; must be importable, for it is sent to the processes.
        rows: of the cases, each with its name in `case`.
        workers: processes.
        title: of the progress bar.
        expected: errors whose message says all there is to say.
    """
    attempt = partial(_attempt, work, expected)
    done: dict[str, Outcome] = {}
    with tqdm(total=len(rows), desc=title, unit="case", disable=None) as bar:
        for outcome in _outcomes(attempt, list(rows), min(workers, len(rows))):
            done[outcome.case] = outcome
            bar.update()
            _log(title, outcome)
    return [done[row["case"]] for row in rows]


def _outcomes(
    attempt: Callable[[Row], Outcome], rows: list[Row], workers: int
) -> Iterator[Outcome]:
    while rows:
        lost = []
        with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for row, future in zip(rows, _submitted(pool, attempt, rows), strict=True):
                try:
                    yield future.result()
                except BrokenProcessPool:
                    lost.append(row)
        if lost and workers == 1:  # cases come one by one: the first one lost is the one killed
            yield Outcome(lost.pop(0)["case"], reason="its process was killed; was memory short?")
        elif lost:
            logger.warning("a process was killed; %d cases again by fewer processes", len(lost))
        rows, workers = lost, max(1, workers // 2)


def _submitted(
    pool: ProcessPoolExecutor, attempt: Callable[[Row], Outcome], rows: list[Row]
) -> list[Future]:
    futures = []
    for row in rows:
        try:
            futures.append(pool.submit(attempt, row))
        except BrokenProcessPool as error:  # a process was killed while rows were handed over
            futures.append(Future())
            futures[-1].set_exception(error)
    return futures


def _attempt(
    work: Callable[[Row], Row], expected: tuple[type[Exception], ...], row: Row
) -> Outcome:
    try:
        return Outcome(row["case"], work(row))
    except expected as error:
        return Outcome(row["case"], reason=str(error))
    except Exception as error:
        reason = f"unexpected {type(error).__name__}: {error}"
        return Outcome(row["case"], reason=reason, details=traceback.format_exc())


def _log(title: str, outcome: Outcome) -> None:
    if outcome.details:
        logger.error("%s: %s:\n%s", title, outcome.case, outcome.details)
    if outcome.values is None:
        logger.error("%s: %s failed: %s", title, outcome.case, outcome.reason)
