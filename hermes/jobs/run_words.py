"""What a run would do or has done, in plain words: datasets, networks, predictions, tables.

The workflow knows jobs of rules; a person asks how many networks are trained, how long it takes,
and where to look. Here are the words; the rules' names stand in `ACTIONS`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hermes.words import counted, some

SLOWEST = 3
"""Jobs that are named with their time."""


@dataclass(frozen=True)
class Job:
    """A job of a run.

    Attributes:
        rule: its rule.
        keys: wildcard -> value.
        seconds: that it took when it ran last; None where that is not known.
        threads: cores that it takes.
        reason: why it is to run, one of `REASONS`.
        changed: source files that are newer than its outputs.
        needs: numbers of the jobs, in the same list, whose outputs it reads.
    """

    rule: str
    keys: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    threads: int = 1
    reason: str = "missing"
    changed: Sequence[str] = ()
    needs: Sequence[int] = ()

    @property
    def name(self) -> str:
        """The rule and what it is about: "train hermes-r"."""
        return " ".join([self.rule, *self.keys.values()])


@dataclass(frozen=True)
class Action:
    """What several rules do together to things of a kind, each told apart by some wildcards."""

    would: str
    did: str
    thing: str
    by: tuple[str, ...]
    rules: tuple[str, ...]


DATA_RULES = ("phantom", "download", "convert", "preprocess_block", "preprocess", "split")
ACTIONS = (
    Action("prepare", "prepared", "dataset", ("dataset",), (*DATA_RULES, "split_fraction")),
    Action("check", "checked", "dataset", ("dataset",), ("measure", "judge")),
    Action("train", "trained", "network", ("run",), ("train",)),
    Action("make", "made", "prediction", ("run", "dataset"), ("predict_shard", "predict")),
    Action("score", "scored", "prediction", ("run", "dataset"), ("evaluate",)),
    Action("render", "rendered", "table", ("table",), ("table", "computation", "statistics")),
    Action("draw", "drew", "picture", ("dataset",), ("overlay", "training_curves", "dice_chart")),
)
OTHER = Action("write", "wrote", "other file", (), ())

REASONS = {
    "forced": "asked for again",
    "settings": "settings changed",
    "code": "code changed",
    "input": "input changed",
    "environment": "environment changed",
    "incomplete": "broken off before",
    "missing": "not there yet",
    "follows": "made from the results of others",
}
"""Why a job is to run, from the strongest reason to the weakest."""


def actions(jobs: Sequence[Job]) -> list[tuple[Action, int, list[Job]]]:
    """Each action of a run, the number of things it is done to, and its jobs."""
    known = {rule: action for action in ACTIONS for rule in action.rules}
    found = []
    for action in (*ACTIONS, OTHER):
        own = [job for job in jobs if known.get(job.rule, OTHER) is action]
        if own:
            things = {job.rule if _shared(job) else _key(job, action) for job in own}
            found.append((action, len(things) if action.by else len(own), own))
    return found


def _shared(job: Job) -> bool:
    return not job.keys


def _key(job: Job, action: Action) -> tuple[str, ...]:
    return tuple(job.keys.get(key, "") for key in action.by)


def listed(parts: Sequence[str]) -> str:
    """Parts of a sentence: "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def duration(seconds: float) -> str:
    """A time as one says it: "8 s", "14 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 10 else f"{hours} h"


def would(jobs: Sequence[Job], targets: Sequence[str], cores: int | None) -> str:
    """What a dry run says in its last lines.

    Args:
        jobs: to run.
        targets: what was asked for.
        cores: of this machine that the run may take; None: jobs go to a cluster.
    """
    if not jobs:
        verb = "is" if len(targets) == 1 else "are"
        return f"Nothing to do: {some(targets, 3)} {verb} up to date."
    parts = [f"{each.would} {counted(n, each.thing)}" for each, n, _ in actions(jobs)]
    return "\n".join([f"Would {listed(parts)}.", because(jobs), *estimate(jobs, cores)])


def because(jobs: Sequence[Job]) -> str:
    """Why jobs are to run, with how many for each reason, and which code changed."""
    count = Counter(job.reason for job in jobs)
    files = some(sorted({path for job in jobs for path in job.changed}), 3)
    told = REASONS | ({"code": f"code changed, {files}"} if files else {})
    parts = [f"{words} ({count[reason]})" for reason, words in told.items() if count[reason]]
    return f"Why, of {counted(len(jobs), 'job')}: {'; '.join(parts)}."


def estimate(jobs: Sequence[Job], cores: int | None) -> list[str]:
    """How long it takes by former runs, in a line; none where nothing is known.

    A job that has not run takes the mean of its rule's. On one machine, jobs fill the cores at
    best, and are never faster than the longest chain of them.
    """
    known: dict[str, list[float]] = {}
    for job in jobs:
        if job.seconds is not None:
            known.setdefault(job.rule, []).append(job.seconds)
    if not known:
        return []
    means = {rule: sum(times) / len(times) for rule, times in known.items()}
    times = [means.get(job.rule, 0.0) if job.seconds is None else job.seconds for job in jobs]
    unknown = sum(job.seconds is None and job.rule not in known for job in jobs)
    but = f"; of {counted(unknown, 'job')} nothing is known" if unknown else ""
    longest = chain(jobs, times)
    if cores is None:
        return [f"{duration(sum(times))} of computing by former runs, {duration(longest)} of it "
                f"one after the other{but}."]  # fmt: skip
    work = sum(t * min(job.threads, cores) for job, t in zip(jobs, times, strict=True)) / cores
    return [
        f"About {duration(max(work, longest))} on {counted(cores, 'core')} by former runs{but}."
    ]


def chain(jobs: Sequence[Job], times: Sequence[float]) -> float:
    """Seconds of the longest chain of jobs, each of which needs the one before."""
    ends: dict[int, float] = {}

    def end(number: int) -> float:
        if number not in ends:
            ends[number] = times[number] + max(map(end, jobs[number].needs), default=0.0)
        return ends[number]

    return max(map(end, range(len(jobs))), default=0.0)


def did(jobs: Sequence[Job], wall_s: float, look: Mapping[str, Sequence[str]]) -> str:
    """What a run that succeeded says at its end.

    Args:
        jobs: that ran.
        wall_s: seconds from its start.
        look: what is to be seen -> files.
    """
    times = [job.seconds for job in jobs if job.seconds is not None]
    rows = []
    for action, number, own in actions(jobs):
        took = duration(sum(job.seconds or 0.0 for job in own))
        what = f"{action.did} {counted(number, action.thing)}"
        rows.append(f"  {what:<24}{counted(len(own), 'job'):>12}{took:>14}")
    slowest = sorted((job for job in jobs if job.seconds), key=lambda job: -(job.seconds or 0))
    named = [f"{job.name} {duration(job.seconds or 0)}" for job in slowest[:SLOWEST]]
    head = f"Done in {duration(wall_s)}: {counted(len(jobs), 'job')}"
    return "\n".join(
        [
            f"{head}, {duration(sum(times))} of computing.",
            *rows,
            *([f"Slowest: {', '.join(named)}."] if named else []),
            *(f"{title}: {', '.join(files)}" for title, files in look.items() if files),
        ]
    )


def stopped(done: int, total: int) -> str:
    """What a run that a person or the system stopped says at its end."""
    return (
        f"Stopped after {done} of {counted(total, 'job')}. What is done is kept: the same command "
        "goes on from here."
    )


def failed(failures: Sequence[tuple[Job, str, str]], done: int, total: int) -> str:
    """What a run with failures says at its end: a line for each, the last of them last.

    Args:
        failures: job, its cause in a sentence, its log.
        done, total: jobs of the run.
    """
    rest = total - done - len(failures)
    left = f", {rest} not run" if rest else ""
    head = f"{len(failures)} of {counted(total, 'job')} failed, {done} done and kept{left}."
    lines = [f"FAILED {job.name}: {cause} (log: {log})" for job, cause, log in failures]
    return "\n".join([head, *lines])
