"""Which files of a raw folder a card's patterns find, and which they pass over."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from hermes.card_check.finding import Finding
from hermes.card_check.nearest import correct, nearest_path
from hermes.config.schema import Card, ImageSource
from hermes.convert.find import Case, find_cases
from hermes.convert.patterns import compile_pattern, fill, natural
from hermes.convert.raw import CaseError, ConvertError, RawFolder, plain
from hermes.convert.sources import Sources, sources_of
from hermes.words import counted, some


@dataclass(frozen=True)
class Job:
    """A case with its files, or the reason why the converter would leave it out."""

    case: Case
    sources: Sources | None = None
    reason: str = ""


@dataclass(frozen=True)
class Matched:
    """How much a pattern matches: paths, and the cases that come of them."""

    pattern: str
    paths: tuple[str, ...]
    cases: int


@dataclass(frozen=True)
class Layout:
    """What was found; `jobs` are the cases in natural order, each name once."""

    jobs: tuple[Job, ...]
    matched: tuple[Matched, ...]
    unused: tuple[str, ...]  # files that no case is made of
    findings: tuple[Finding, ...]


def lay_out(card: Card, raw: RawFolder) -> Layout:
    """Match the card's patterns and find every case's files."""
    matched, findings = [], []
    cases: dict[str, Case] = {}
    for source in card.images:
        paths = _paths(source, raw)
        found = _cases(card, source, raw, paths)
        findings += [entry for entry in found if isinstance(entry, Finding)]
        found = [entry for entry in found if isinstance(entry, Case)]
        matched.append(Matched(source.pattern, paths, len(found)))
        for case in found:
            cases.setdefault(case.name, case)
    if not findings:
        cases, findings = _together(card, raw, cases)
    jobs = [_job(cases[name], raw) for name in sorted(cases, key=natural)]
    used = {path for job in jobs if job.sources for path in job.sources.paths}
    used |= {path for job in jobs for path in raw.matching(job.case.path)}
    unused = tuple(path for path in raw.files if path not in used)
    findings += _without_match(card, raw, matched, unused)
    sound = {job.case.image.pattern for job in jobs if job.sources}
    findings += _without_image([s for s in card.images if s.pattern in sound], raw, unused)
    return Layout(tuple(jobs), tuple(matched), unused, tuple(findings))


def _paths(source: ImageSource, raw: RawFolder) -> tuple[str, ...]:
    regex = compile_pattern(source.pattern)
    listed = raw.folders if source.format == "dicom" else raw.files
    return tuple(path for path in listed if regex.fullmatch(path))


def _cases(
    card: Card, source: ImageSource, raw: RawFolder, paths: tuple[str, ...]
) -> list[Case | Finding]:
    """The cases of one entry of `images`, by the converter's own search."""
    if not paths:
        return []
    try:
        return [*find_cases(_only(card, source), raw)]
    except ValueError as error:  # ConvertError, or a template that is none
        if source.numbers and _works(_only(card, source.model_copy(update={"numbers": None})), raw):
            return [
                Finding(
                    f"{source.pattern}: matches {counted(len(paths), 'path')}, but no case's last "
                    f"number lies in `numbers` {list(source.numbers)}; such as {paths[0]}",
                    "correct `numbers`, or leave it out",
                )
            ]
        return [Finding(_without_root(error, raw), "give `case` more placeholders of its pattern")]


def _only(card: Card, source: ImageSource) -> Card:
    return card.model_copy(update={"images": [source]})


def _works(card: Card, raw: RawFolder) -> bool:
    try:
        find_cases(card, raw)
    except ValueError:
        return False
    return True


def _together(
    card: Card, raw: RawFolder, found: dict[str, Case]
) -> tuple[dict[str, Case], list[Finding]]:
    """The cases as the converter has them, and what there is to say of names that entries share.

    Names that are given twice within one entry are found there.
    """
    try:
        cases = {case.name: case for case in find_cases(card, raw)} if found else {}
    except ConvertError as error:
        change = "keep one copy, or tell the entries apart by `case`"
        return found, [Finding(_without_root(error, raw), change)]
    twice = [(case, case.copy) for case in cases.values() if case.copy]
    if not twice:
        return cases, []
    first, copy = twice[0]
    what = f"{counted(len(twice), 'case')} there twice, such as {copy.path} and {first.path}"
    change = "nothing: the latter are converted, with a warning that says whether both are equal"
    return cases, [Finding(what, change, problem=False)]


def _job(case: Case, raw: RawFolder) -> Job:
    try:
        return Job(case, sources_of(case, raw))
    except CaseError as error:
        return Job(case, reason=plain(str(error), raw.root))


def _without_root(error: Exception, raw: RawFolder) -> str:
    return plain(str(error), raw.root).removeprefix(f"{raw.root}: ")


def _without_match(
    card: Card, raw: RawFolder, matched: list[Matched], unused: tuple[str, ...]
) -> Iterator[Finding]:
    """A pattern without any match is a problem where some unused file may be meant by it."""
    free = {"nifti": [*unused], "dicom": _folders_of(unused)}
    told = set()
    for source, found in zip(card.images, matched, strict=True):
        if found.paths or source.pattern in told:
            continue
        told.add(source.pattern)
        finding, meant = _unmatched(source, raw, free[source.format], matched)
        free[source.format] = [path for path in free[source.format] if path not in meant]
        yield finding


def _unmatched(
    source: ImageSource, raw: RawFolder, free: list[str], matched: list[Matched]
) -> tuple[Finding, set[str]]:
    """What to say of a pattern without a match, and the paths that it may be meant for."""
    what = f"{source.pattern}: matches no {'folder' if source.format == 'dicom' else 'file'}"
    other = raw.files if source.format == "dicom" else raw.folders
    if _any(source.pattern, other):
        form = "nifti" if source.format == "dicom" else "dicom"
        kind = "files" if form == "nifti" else "folders"
        return Finding(f"{what}, but {kind} of that name are there", f"format: {form}"), set()
    if correction := correct(source.pattern, free):
        what = f"{what}; {correction.why}, such as {correction.matched[0]}"
        change = f"pattern: {correction.pattern} (matches {len(correction.matched):,})"
        return Finding(what, change), set(correction.matched)
    if any(entry.cases for entry in matched):
        return Finding(what, "nothing, if the entry is for another copy", problem=False), set()
    near = nearest_path(source.pattern, free)
    return Finding(
        what + (f"; the nearest path is {near}" if near else ""),
        "write the pattern after a path that is there, with {case} for what differs",
    ), set()


def _folders_of(paths: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(str(PurePosixPath(path).parent) for path in paths))


def _without_image(
    sources: Sequence[ImageSource], raw: RawFolder, unused: tuple[str, ...]
) -> Iterator[Finding]:
    """References whose image is not there; those of images that `numbers` leaves out are fine."""
    orphans: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        label = source.label
        for pattern in label.maps.values() if label.format == "probability" else [label.path]:
            if label.format in ("nifti", "probability") and pattern:
                orphans[pattern] += _orphans(source, pattern, raw, unused)
    images = {path for source in sources for path in _paths(source, raw)}
    for pattern, paths in orphans.items():
        paths = [path for path in dict.fromkeys(paths) if path not in images]
        if paths:
            yield Finding(
                f"{pattern}: {counted(len(paths), 'reference')} without an image: {some(paths)}",
                "add the images, or correct the images' pattern",
                problem=False,
            )


def _orphans(
    source: ImageSource, pattern: str, raw: RawFolder, unused: tuple[str, ...]
) -> Iterator[str]:
    regex = compile_pattern(pattern)
    for path in unused:
        match = regex.fullmatch(path)
        if not match:
            continue
        image = fill(source.pattern, match.groupdict())
        listed = raw.folders if source.format == "dicom" else raw.files
        there = image in listed or ("{" in image and _any(image, listed))
        if not there:
            yield path


def _any(pattern: str, paths: Iterable[str]) -> bool:
    regex = compile_pattern(pattern)
    return any(map(regex.fullmatch, paths))
