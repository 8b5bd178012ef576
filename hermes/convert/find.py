"""From a card's path patterns and a raw folder's manifest to the list of cases."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hermes.config.schema import Card, ImageSource, Modality
from hermes.convert.patterns import compile_pattern, fill, last_number, natural
from hermes.convert.raw import ConvertError, RawFolder


@dataclass(frozen=True)
class Case:
    """One image to convert, and where what belongs to it lies. Paths are below the raw folder."""

    name: str
    patient: str
    modality: Modality
    path: str  # file, or folder of a DICOM series
    holes: Mapping[str, str]  # placeholder -> text
    image: ImageSource
    frame: str = ""  # key of `image.frames.columns`
    copy: "Case | None" = None  # of the same scan, by another entry: compared, not converted


def find_cases(card: Card, raw: RawFolder) -> list[Case]:
    """Find every case of a card, in natural order of the names.

    A file that is the reference of another case is no image, though a pattern may match both
    (`x.nii.gz` and `x_seg.nii.gz` in one folder). Of two copies of a scan, where the card calls an
    entry the copy of another (`copy_of`), that entry's is the case and the other its `copy`.

    Raises:
        ConvertError: nothing matches any pattern, or two images claim one name.
    """
    cases = [case for source in card.images for case in _of_source(card, source, raw)]
    if not cases:
        expected = "\n  ".join(source.pattern for source in card.images)
        raise ConvertError(
            f"{raw.root}: no case of {card.name!r} among {len(raw.files)} files; expected paths "
            f"below this folder:\n  {expected}"
        )
    cases = _with_copies(_without_references(cases))
    _reject_twins(card, raw, cases)
    return sorted(cases, key=lambda case: natural(case.name))


def _without_references(cases: list[Case]) -> list[Case]:
    images = {case.path for case in cases}
    references = {
        path
        for case in cases
        if (path := fill(case.image.label.path, case.holes)) in images and path != case.path
    }
    return [case for case in cases if case.path not in references]


def _with_copies(cases: list[Case]) -> list[Case]:
    """Two entries' cases of one name made one, where one entry is a copy of the other."""
    entries = {(case.image.pattern, case.name): case for case in cases}
    found, copies = [], []
    for case in cases:
        other = entries.get((case.image.copy_of, case.name))
        found.append(replace(case, copy=other) if other else case)
        copies += [other] if other else []
    return [case for case in found if not any(case is copy for copy in copies)]


def _of_source(card: Card, source: ImageSource, raw: RawFolder) -> Iterable[Case]:
    regex = compile_pattern(source.pattern)
    for path in raw.folders if source.format == "dicom" else raw.files:
        match = regex.fullmatch(path)
        if not match:
            continue
        holes = match.groupdict()
        name = file_name(_fill(card, source.case, holes))
        if not _wanted(name, source.numbers):
            continue
        patient, modality = _fill(card, source.patient, holes), source.modality or card.modality
        for frame in source.frames.columns if source.frames else ("",):
            full = f"{name}_{frame}" if frame else name
            yield Case(full, patient, modality, path, holes, source, frame)


def _fill(card: Card, template: str, holes: Mapping[str, str]) -> str:
    try:
        return template.format_map(holes)
    except KeyError as error:
        raise ConvertError(
            f"card {card.name!r}: {template!r} uses {{{error.args[0]}}}, which its pattern does "
            f"not have; it has {sorted(holes)}"
        ) from None


def file_name(text: str) -> str:
    """A name that is one on every file system, in every address and shell: others become `_`."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", text)


def _wanted(name: str, numbers: tuple[int, int] | None) -> bool:
    if numbers is None:
        return True
    number = last_number(name)
    return number is not None and numbers[0] <= number <= numbers[1]


def _reject_twins(card: Card, raw: RawFolder, cases: list[Case]) -> None:
    """Every file written needs a name of its own: `a` and `a_label` would share one."""
    owners: dict[str, Case] = {}
    for case in cases:
        for stem in (case.name, f"{case.name}_label"):
            other = owners.setdefault(stem, case)
            if other is not case:
                raise ConvertError(
                    f"{raw.root}: {other.path} and {case.path} both give the case {stem!r} of "
                    f"{card.name!r}; keep one of them, or tell them apart in the card's `case`"
                )
