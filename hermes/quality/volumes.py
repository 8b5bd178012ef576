"""Volumes of structures: against the dataset's own, against adults, against what is published.

A structure that the field of view cuts may be small; only its being too large says anything.
Lesions may have any size and are not judged.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from hermes.quality.anatomy import Relation, exchange_excluded
from hermes.quality.facts import DatasetFacts, LabelFacts
from hermes.quality.finding import Finding, figure, span, times
from hermes.quality.measurements import CaseMeasured, Extent
from hermes.words import counted

ENOUGH = 8
"""ASSUME: fewer cases do not say what is usual."""

MAD_TO_SIGMA = 1.4826
"""Of a normal distribution; Rousseeuw and Croux 1993."""

SIGMA_FLOOR = math.log(1.1)
"""ASSUME: no organ's volume varies by less than a tenth between people."""

UNUSUAL, EXTREME = 4.0, 6.0
"""ASSUME: robust z of log volume for a note and for a warning. Organs' log volumes have heavier
tails than a normal distribution: 3 would flag several cases of every sound dataset."""

UNUSUAL_RATIO, EXTREME_RATIO = 1.5, 2.5
"""ASSUME: and the least ratio to the median for either."""

SCALED = 1.8
"""ASSUME: ratio of all of a case's volumes to the medians that tells of a wrong spacing."""

MANY_ALIKE = 5
"""ASSUME: so many structures are not all changed alike by a disease, as three of a heart are."""

SCALE_SPREAD = 1.35
"""ASSUME: ratio by which single structures may differ from the case's common one."""

PUBLISHED_RATIO = 2.0
"""Between a dataset's median and the published one, from which on a label is in doubt."""


@dataclass(frozen=True)
class Usual:
    """What is usual of one structure in a dataset.

    Attributes:
        median_ml: of the whole ones, or of all where the field of view cuts most.
        sigma: robust, of the natural logarithm.
        count: cases it was taken from.
        whole: whether these are structures that the field of view does not cut.
    """

    median_ml: float
    sigma: float
    count: int
    whole: bool

    def z(self, volume_ml: float) -> float:
        return math.log(volume_ml / self.median_ml) / self.sigma


def usual_volumes(cases: Sequence[CaseMeasured]) -> dict[str, Usual]:
    """Median and spread of every structure that any case has."""
    names = dict.fromkeys(name for case in cases for name in case.structures)
    return {name: _usual([c.structures[name] for c in cases if name in c.structures])
            for name in names}  # fmt: skip


def _usual(extents: Sequence[Extent]) -> Usual:
    whole = [e.volume_ml for e in extents if not e.cut]
    # ASSUME: a third of them, and five, are enough to speak for the others
    is_whole = len(whole) >= max(min(5, len(extents)), len(extents) / 3)
    volumes = np.log(whole if is_whole else [e.volume_ml for e in extents])
    median = float(np.median(volumes))
    sigma = MAD_TO_SIGMA * float(np.median(np.abs(volumes - median)))
    return Usual(math.exp(median), max(sigma, SIGMA_FLOOR), len(volumes), is_whole)


Excluded = Callable[[str, str], bool]
"""Whether the names of two structures cannot have been exchanged."""


def check_volumes(
    facts: DatasetFacts, cases: Sequence[CaseMeasured], relations: Sequence[Relation]
) -> list[Finding]:
    """All checks of volumes of one dataset; what concerns a whole dataset is said once.

    An exchange of two labels is not suspected where the relations speak against it.
    """
    excluded = partial(exchange_excluded, cases, relations)
    usual = usual_volumes(cases)
    organs = [label for label in facts.labels if label.kind != "lesion"]
    doubted, found = _against_adults(facts, organs, usual, excluded)
    found += _against_published(facts, usual, doubted, excluded)
    scaled = {case.name: scale for case in cases if (scale := _common_ratio(case, organs, usual))}
    found += [_scale_finding(facts, name, *scale) for name, scale in scaled.items()]
    for case in cases:
        if case.name not in scaled:
            found += _case_findings(facts, case, organs, usual, doubted)
    return found


def _against_adults(
    facts: DatasetFacts,
    organs: Sequence[LabelFacts],
    usual: Mapping[str, Usual],
    excluded: Excluded,
) -> tuple[set[str], list[Finding]]:
    """Structures whose median no adult has, and what is said of them."""
    found, doubted = [], set()
    for label in organs:
        bounds, typical = facts.range_ml(label), usual.get(label.structure)
        if bounds is None or typical is None:
            continue
        too_small = typical.median_ml < bounds[0] and typical.whole
        if not too_small and typical.median_ml <= bounds[1]:
            continue
        doubted.add(label.structure)
        message = (
            f"{label.name} (value {label.value}): median {figure(typical.median_ml)} ml of "
            f"{counted(typical.count, 'case')}; adults have {span(*bounds)} ml"
        )
        hint = _better(facts, label, usual, excluded)
        found.append(Finding(facts.name, "", "error", "adult volumes", f"{message}{hint}"))
    return doubted, found


def _against_published(
    facts: DatasetFacts, usual: Mapping[str, Usual], doubted: set[str], excluded: Excluded
) -> list[Finding]:
    """Medians against those on the card."""
    found = []
    for label in facts.labels:
        typical = usual.get(label.structure)
        if label.median_ml is None or typical is None:
            continue
        ratio = typical.median_ml / label.median_ml
        if max(ratio, 1 / ratio) < PUBLISHED_RATIO:
            continue
        doubted.add(label.structure)
        hint = _better(facts, label, usual, excluded)
        message = (
            f"{label.name} (value {label.value}): median {figure(typical.median_ml)} ml, "
            f"published {figure(label.median_ml)} ml{hint}"
        )
        level = "error" if hint else "warning"
        found.append(Finding(facts.name, "", level, "published volumes", message))
    return found


def _better(
    facts: DatasetFacts, label: LabelFacts, usual: Mapping[str, Usual], excluded: Excluded
) -> str:
    """The label with which this one may have changed places: each fits the other's expectation."""
    mine, gains = usual[label.structure].median_ml, []
    for other in facts.labels:
        theirs = usual.get(other.structure)
        if other == label or theirs is None or excluded(label.structure, other.structure):
            continue
        if not (_fits(facts, other, mine) and _fits(facts, label, theirs.median_ml)):
            continue
        before = _misfit(facts, label, mine) + _misfit(facts, other, theirs.median_ml)
        after = _misfit(facts, other, mine) + _misfit(facts, label, theirs.median_ml)
        gains.append((before - after, other.value, other.name))
    gain, value, name = max(gains, default=(0.0, 0, ""))
    return f"; values {label.value} and {value} ({name}) may be exchanged" if gain > 0 else ""


def _fits(facts: DatasetFacts, label: LabelFacts, volume_ml: float) -> bool:
    if label.median_ml:
        return _misfit(facts, label, volume_ml) < math.log(PUBLISHED_RATIO)
    bounds = facts.range_ml(label)
    return bounds is not None and bounds[0] <= volume_ml <= bounds[1]


def _misfit(facts: DatasetFacts, label: LabelFacts, volume_ml: float) -> float:
    """Distance of a volume from what is expected of a label, on the logarithmic scale."""
    bounds = facts.range_ml(label)
    middle = label.median_ml or (math.sqrt(bounds[0] * bounds[1]) if bounds else volume_ml)
    return abs(math.log(volume_ml / middle))


def _common_ratio(
    case: CaseMeasured, organs: Iterable[LabelFacts], usual: Mapping[str, Usual]
) -> tuple[float, int] | None:
    """Ratio to the medians that a case's volumes share, far from one, and how many share it."""
    whole = [(name, e) for name, e in case.structures.items() if not e.cut]
    names = {label.structure for label in organs}
    ratios = [
        math.log(extent.volume_ml / usual[name].median_ml)
        for name, extent in whole
        if name in names and usual[name].count >= ENOUGH
    ]
    if len(ratios) < 3:
        return None
    common = float(np.median(ratios))
    alike = sum(abs(ratio - common) <= math.log(SCALE_SPREAD) for ratio in ratios)
    if abs(common) < math.log(SCALED) or alike < 0.75 * len(ratios):
        return None
    return math.exp(common), len(ratios)


def _scale_finding(facts: DatasetFacts, case: str, ratio: float, number: int) -> Finding:
    message = (
        f"all {number} structures have about {times(ratio)} their usual volume: the spacing may be "
        f"wrong (or {'a very large person' if ratio > 1 else 'a child'}, or disease of all of them)"
    )
    level = "error" if number >= MANY_ALIKE else "warning"
    return Finding(facts.name, case, level, "volumes", message)


def _case_findings(
    facts: DatasetFacts,
    case: CaseMeasured,
    organs: Iterable[LabelFacts],
    usual: Mapping[str, Usual],
    doubted: set[str],
) -> list[Finding]:
    """Structures of one case that are far from usual, or that no adult has."""
    found = []
    for label in organs:
        extent = case.structures.get(label.structure)
        if extent is None or label.structure in doubted:
            continue
        level, text = rate(facts, label, extent, usual[label.structure])
        if level != "ok":
            found.append(Finding(facts.name, case.name, level, "volumes", text))
    return found


def rate(facts: DatasetFacts, label: LabelFacts, extent: Extent, typical: Usual) -> tuple[str, str]:
    """Level of one structure's volume in one case, and the volume in words; lesions are `ok`."""
    bounds, ratio = facts.range_ml(label), extent.volume_ml / typical.median_ml
    text = f"{label.name}: {figure(extent.volume_ml)} ml, {times(ratio)} the median"
    if label.kind == "lesion":
        return "ok", text
    if bounds and not _inside(extent.volume_ml, bounds, extent.cut):
        return "warning", f"{text}; adults have {span(*bounds)} ml"
    return "ok" if ratio < 1 and extent.cut else _level(typical, extent.volume_ml), text


def _level(typical: Usual, volume_ml: float) -> str:
    if typical.count < ENOUGH:
        return "ok"
    z, ratio = abs(typical.z(volume_ml)), volume_ml / typical.median_ml
    ratio = max(ratio, 1 / ratio)
    if z >= EXTREME and ratio >= EXTREME_RATIO:
        return "warning"
    return "note" if z >= UNUSUAL and ratio >= UNUSUAL_RATIO else "ok"


def _inside(volume_ml: float, bounds: tuple[float, float], cut: bool) -> bool:
    return volume_ml <= bounds[1] and (cut or volume_ml >= bounds[0])


def oddness(case: CaseMeasured, usual: Mapping[str, Usual]) -> float:
    """Mean absolute robust z of a case's volumes; 0 for one without structures."""
    scores = [abs(usual[name].z(extent.volume_ml)) for name, extent in case.structures.items()]
    return float(np.mean(scores)) if scores else 0.0
