"""Where a path pattern misses: likely corrections, each tried on the files that are there."""

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from hermes.convert.patterns import HOLE, compile_pattern, fill

MOST_COMPARED = 500
"""Paths that a misspelt one is compared with letter by letter, which is slow."""

STARTS, ENDS = ("seg", "label", "mask", "annot", "truth"), ("mask", "seg", "truth")
SHORT = {"gt", "msk", "roi", "gtv"}
"""Beginnings and ends of words, and words, by which references are told from images."""

NIFTI = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Correction:
    """A pattern that matches paths where the card's own does not."""

    pattern: str
    why: str
    matched: tuple[str, ...]


def correct(pattern: str, paths: Sequence[str]) -> Correction | None:
    """Return the correction that tells most cases apart among the paths, or None.

    Cases are told apart by the placeholders that the pattern has itself.
    """
    own = sorted({hole.group(1) for hole in HOLE.finditer(pattern) if hole.group(1)})
    best, most = None, 0
    for candidate, why in _candidates(pattern, paths):
        matches = [m for m in map(compile_pattern(candidate).fullmatch, paths) if m]
        found = len({tuple(match.groupdict().get(name) for name in own) for match in matches})
        if found > most:
            best, most = Correction(candidate, why, tuple(m.string for m in matches)), found
    return best


def nearest_path(wanted: str, paths: Iterable[str]) -> str:
    """Return the path that looks most like the wanted one; "" where there is none.

    Paths with the same ending are asked first.
    """
    ending = PurePosixPath(wanted).suffix
    ranked = sorted(paths, key=lambda path: PurePosixPath(path).suffix != ending)
    near = difflib.get_close_matches(wanted, ranked[:MOST_COMPARED], n=1, cutoff=0.0)
    return near[0] if near else ""


def pairs(image: str, reference: str) -> Iterator[tuple[str, str]]:
    """Yield patterns for an image and its reference; {case} is what their paths share.

    The names img0001.nii.gz and label0001.nii.gz share 0001; case_1/ct.nii.gz and case_1/seg.nii.gz
    share a folder.
    """
    one, other = PurePosixPath(image), PurePosixPath(reference)
    first, second = stem(one.name), stem(other.name)
    for shared in dict.fromkeys((_shared_text(first, second), _shared_number(first, second))):
        if shared:
            yield _with_hole(one, shared), _with_hole(other, shared)
    for folder in one.parts[:-1]:
        if folder in other.parts[:-1]:
            yield image.replace(folder, "{case}"), reference.replace(folder, "{case}")


def _with_hole(path: PurePosixPath, shared: str) -> str:
    """The path with {case} where its name holds the text for the last time."""
    return str(path.with_name("{case}".join(path.name.rsplit(shared, 1))))


def _shared_text(first: str, second: str) -> str:
    """The longest text in both names, of whole words and numbers, where it tells cases apart."""
    match = difflib.SequenceMatcher(None, first, second, autojunk=False).find_longest_match()
    text = first[match.a : match.a + match.size]
    before = first[: match.a][-1:], second[: match.b][-1:]
    after = first[match.a + match.size :][:1], second[match.b + match.size :][:1]
    for kind, run in ((str.isalpha, "[A-Za-z]+"), (str.isdigit, "[0-9]+")):
        text = re.sub(f"^{run}", "", text) if any(map(kind, before)) else text
        text = re.sub(f"{run}$", "", text) if any(map(kind, after)) else text
    text = text.strip("_-. ")
    return text if first == second or re.search(r"\d", text) else ""


def _shared_number(first: str, second: str) -> str:
    """The last number of two names, where it is the same in both."""
    last = [re.findall(r"\d+", name)[-1:] for name in (first, second)]
    return last[0][0] if last[0] and last[0] == last[1] else ""


def pairs_of(patterns: tuple[str, str], paths: Collection[str]) -> list[tuple[str, str]]:
    """The images that the first pattern matches and whose reference, by the second, is there."""
    matches = filter(None, map(compile_pattern(patterns[0]).fullmatch, paths))
    both = [(match.string, fill(patterns[1], match.groupdict())) for match in matches]
    return [(image, reference) for image, reference in both if reference in paths]


def without_zeros(text: str) -> str:
    """A text whose numbers are written without leading zeros."""
    return re.sub(r"0+(?=\d)", "", text)


def stem(name: str) -> str:
    """A file's name without .nii, .nii.gz or its one suffix."""
    ending = next((end for end in NIFTI if name.endswith(end)), PurePosixPath(name).suffix)
    return name.removesuffix(ending) if ending else name


def looks_like_reference(path: str) -> bool:
    """Whether a word in a path's last two components says that it is a reference."""
    words = re.findall(r"[a-z]+", "/".join(PurePosixPath(path).parts[-2:]).lower())
    return any(w.startswith(STARTS) or w.endswith(ENDS) or w in SHORT for w in words)


def _candidates(pattern: str, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    plain = pattern.replace("\\", "/").removeprefix("./").lstrip("/")
    if plain != pattern:
        yield plain, "paths are written from the raw folder on, with /"
    yield from _other_endings(pattern)
    yield from _one_folder_each(pattern, paths)
    yield from _deeper(pattern, paths)
    parts = pattern.split("/")
    for k in range(1, len(parts)):
        yield "/".join(parts[k:]), f"the files lie {_folders(k)} higher"
    if len(parts) > 1:
        yield "/".join(parts[:-1]), "the series lies in the folder itself"
    yield from _longer(pattern, paths)
    yield from _other_case(pattern, paths)
    yield from _other_name(pattern, paths)


def _folders(k: int) -> str:
    return "one folder" if k == 1 else f"{k} folders"


def _other_endings(pattern: str) -> Iterator[tuple[str, str]]:
    if pattern.endswith(".nii.gz"):
        yield pattern.removesuffix(".gz"), "the files end in .nii"
    elif pattern.endswith(".nii"):
        yield f"{pattern}.gz", "the files end in .nii.gz"


def _deeper(pattern: str, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The same below further folders; of those that differ between files placeholders are made."""
    regex = re.compile(f"(?P<above_>.+)/(?P<below_>{compile_pattern(pattern).pattern})")
    matches = [match for match in map(regex.fullmatch, paths) if match]
    if not matches:
        return
    above = [match["above_"].split("/") for match in matches]
    below = {match["below_"] for match in matches}
    hole = next((h.group(1) for h in HOLE.finditer(pattern) if h.group(1)), "case")
    depth = Counter(map(len, above)).most_common(1)[0][0]
    columns = zip(*(parts for parts in above if len(parts) == depth), strict=True)
    first = "folder" if len(below) > 1 else hole  # files of one name: the folders are the cases
    names = iter([first, *(f"folder{k}" for k in range(2, depth + 1))])
    parts = [column[0] if len(set(column)) == 1 else f"{{{next(names)}}}" for column in columns]
    rest = pattern if len(below) > 1 else below.pop()
    yield f"{'/'.join(parts)}/{rest}", f"the files lie {_folders(depth)} deeper"


def _longer(pattern: str, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Further folders below the one that the pattern names, for a series."""
    regex = re.compile(f"{compile_pattern(pattern).pattern}/(?P<below_>.+)")
    below = Counter(match["below_"] for match in map(regex.fullmatch, paths) if match)
    for rest, _ in below.most_common(3):
        yield f"{pattern}/{rest}", "the series lies in a folder below"


def _other_case(pattern: str, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    regex = re.compile(compile_pattern(pattern).pattern, re.IGNORECASE)
    match = next(filter(None, map(regex.fullmatch, paths)), None)
    if not match:
        return
    text = match.string
    for name, value in reversed(match.groupdict().items()):
        text = text[: match.start(name)] + f"{{{name}}}" + text[match.start(name) + len(value) :]
    yield text, "capital and small letters differ"


def _one_folder_each(pattern: str, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """A folder per case where the pattern expects files."""
    where, last = PurePosixPath(pattern).parent, PurePosixPath(pattern).name
    hole = HOLE.search(last)
    if not hole or not hole.group(1) or "{" in str(where):
        return
    name, why = f"{{{hole.group(1)}}}", "every case has a folder of its own"
    inside = [path for path in map(PurePosixPath, paths) if path.parent.parent == where]
    inside = [path for path in inside if path.name.endswith(NIFTI)]
    wanted = looks_like_reference(pattern)
    inside.sort(key=lambda path: looks_like_reference(path.name) != wanted)
    for basename in list(dict.fromkeys(path.name for path in inside))[:3]:
        yield str(where / name / basename), why
    for path in inside[:3]:
        if path.parent.name in path.name:
            yield str(where / name / path.name.replace(path.parent.name, name)), why


def _other_name(pattern: str, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The right folder with other names in it, or the right names in a folder of like name."""
    where, last = PurePosixPath(pattern).parent, PurePosixPath(pattern).name
    ending = next((end for end in NIFTI if last.endswith(end)), "")
    hole = next((h.group(1) for h in HOLE.finditer(last) if h.group(1)), None)
    if ending and hole:
        yield str(where / f"{{{hole}}}{ending}"), "the files' names differ"
    folders = {str(PurePosixPath(path).parent) for path in paths}
    for near in difflib.get_close_matches(str(where), folders, n=2, cutoff=0.6):
        yield str(PurePosixPath(near) / last), "the folder's name differs"
