"""Images whose reference segmentation is not where the card says."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter

from hermes.card_check.finding import Finding
from hermes.card_check.layout import Job, Layout
from hermes.card_check.nearest import correct, nearest_path, pairs, pairs_of, without_zeros
from hermes.convert.patterns import compile_pattern, fill
from hermes.convert.raw import CaseError, RawFolder
from hermes.words import counted, some

TRIED = 20
"""Images on which a corrected pattern of the references is tried."""


def without_reference(layout: Layout, raw: RawFolder) -> tuple[list[Finding], set[str]]:
    """Explain missing references; also return the cases that this explains."""
    lacking: dict[str, list[Job]] = defaultdict(list)
    for job in layout.jobs:
        if job.sources is None and _lacking(job, raw):
            lacking[job.case.image.pattern].append(job)
    findings: list[Finding] = []
    for pattern, jobs in lacking.items():
        total = sum(job.case.image.pattern == pattern for job in layout.jobs)
        findings.append(_missing(jobs, total, layout, raw))
    return findings, {job.case.name for jobs in lacking.values() for job in jobs}


def _patterns(job: Job) -> Sequence[str]:
    label = job.case.image.label
    if label.format == "none":
        return []
    return list(label.maps.values()) if label.format == "probability" else [label.path]


def _lacking(job: Job, raw: RawFolder) -> str:
    """The first pattern of a case's references that stands for no path; "" where all do."""
    for pattern in _patterns(job):
        try:
            raw.locate(pattern, job.case.holes)
        except CaseError:
            return pattern
    return ""


def _missing(jobs: list[Job], total: int, layout: Layout, raw: RawFolder) -> Finding:
    first = jobs[0]
    pattern = _lacking(first, raw)
    wanted = fill(pattern, first.case.holes)
    what = f"{len(jobs):,} of {counted(total, 'image')} without a reference"
    example = f"{first.case.path} needs {wanted}, which is not there"
    if len(jobs) < total:
        names = some([job.case.name for job in jobs], 5)
        return Finding(
            f"{what} ({names}): {example}",
            "add the references or take the images out: the converter leaves these cases out",
        )
    taken = {job.case.path for job in layout.jobs}
    taken |= {fill(other, first.case.holes) for other in _patterns(first)}
    free = [path for path in (*layout.unused, *raw.folders) if path not in taken]
    near = nearest_path(wanted, free)
    seen = f"{what}: {example}" + (f"; the nearest path is {near}" if near else "")
    if near and without_zeros(near) == without_zeros(wanted):
        return Finding(f"{seen}: numbers are written differently", "rename the files, or link them")
    helped = _corrections(jobs, pattern, near, free, raw)
    best = max(helped, key=itemgetter(0), default=(0, "", ""))
    if best[0]:
        return Finding(f"{seen}{best[2]}", best[1])
    return Finding(seen, "write the label's `path` with the placeholders of the image's pattern")


def _corrections(
    jobs: list[Job], pattern: str, near: str, free: list[str], raw: RawFolder
) -> Iterator[tuple[int, str, str]]:
    """Yield (images helped of those tried, what to write, why)."""
    tried = jobs[:TRIED]
    own = _with_holes(near, jobs[0].case.holes)
    if "{" in own:
        yield sum(_found(own, job, raw) for job in tried), f"label path: {own}", ""
    if correction := correct(pattern, free):
        helped = sum(_found(correction.pattern, job, raw) for job in tried)
        yield helped, f"label path: {correction.pattern}", f": {correction.why}"
    known = {*raw.files, *raw.folders}
    for both in pairs(jobs[0].case.path, near) if near else ():
        helped = min(len(pairs_of(both, known)), len(tried))
        change = f"label path: {both[1]}"
        if both[0] == jobs[0].case.image.pattern:
            yield helped, change, ""
        else:
            yield helped, f"pattern: {both[0]} and {change}", ": the names differ"


def _with_holes(path: str, holes: Mapping[str, str]) -> str:
    """A path as a pattern: what an image's placeholders stand for becomes these placeholders."""
    for name, text in sorted(holes.items(), key=lambda hole: -len(hole[1])):
        path = path.replace(text, f"{{{name}}}")
    return path


def _found(pattern: str, job: Job, raw: RawFolder) -> bool:
    filled = fill(pattern, job.case.holes)
    if filled in raw.files or filled in raw.folders:
        return True
    if "{" not in filled and "*" not in filled:
        return False
    regex = compile_pattern(pattern, job.case.holes)
    return sum(1 for path in raw.files if regex.fullmatch(path)) == 1
