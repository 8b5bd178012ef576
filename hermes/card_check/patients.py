"""Patients, official subsets, the split that would be drawn, and the counts that are published."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from hermes.card_check.finding import Finding
from hermes.config.schema import Card
from hermes.convert.find import Case
from hermes.split.rule import SplitError, assign
from hermes.words import counted, some


def describe_patients(card: Card, cases: Sequence[Case]) -> list[str]:
    """How many patients and images there are, by subset, and on which side they would be."""
    if not cases:
        return []
    patients = len({case.patient for case in cases})
    lines = [f"{counted(patients, 'patient')}, {counted(len(cases), 'image')}"]
    subsets = Counter(subset for _, subset in {(case.patient, case.image.subset) for case in cases})
    if set(subsets) != {""}:
        named = ", ".join(f"{subsets[name]:,} {name or 'none'}" for name in sorted(subsets))
        lines.append(f"patients by official subset: {named}")
    try:
        sides = Counter(_split(card, cases).values())
    except SplitError:
        return lines  # `check_patients` says it
    unit = "parts of a scan" if card.split.within_patient else "patients"
    drawn = ", ".join(f"{sides[side]:,} {side}" for side in ("train", "val", "test"))
    return [*lines, f"split ({card.split.rule}): {drawn} ({unit})"]


def _split(card: Card, cases: Sequence[Case]) -> dict[str, str]:
    """Patient -> side, as the split stage has it; the numbers are those of any seed."""
    subsets: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        subsets[case.name if card.split.within_patient else case.patient].add(case.image.subset)
    return assign(dict(subsets), card.split, seed=0, dataset=card.name)


def check_patients(card: Card, cases: Sequence[Case]) -> Iterator[Finding]:
    """Say what is wrong with the split, odd about patients, or other than published."""
    if not cases:
        return
    try:
        _split(card, cases)
    except SplitError as error:
        yield Finding(
            str(error).removeprefix(f"{card.name}: "),
            "give `split` shares that the patients allow, or another rule; official subsets are "
            "the `subset` of the entries in `images`",
        )
    if groups := _alike(cases):
        first = some([case.name for case in groups[0]])
        yield Finding(
            f"every image is a patient of its own, but names look like {len(groups):,} patients "
            f"with several images: {first}",
            "if they are, make `patient` of the part that they share, so that no patient is on "
            "both sides of the split",
            problem=False,
        )
    yield from _published(card, cases)


def _alike(cases: Sequence[Case]) -> list[list[Case]]:
    """Cases grouped by the text before the last separator, where that looks like a patient.

    ASSUME: it does where it holds a number and most images share theirs with another.
    """
    if len({case.patient for case in cases}) < len(cases):
        return []
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        before = re.sub(r"[-_.][^-_.]*$", "", case.name)
        if before != case.name and re.search(r"\d", before):
            groups[before].append(case)
    shared = [group for group in groups.values() if len(group) > 1]
    most = 2 * sum(map(len, shared)) > len(cases)
    return shared if most and len(shared) >= max(2, len(cases) / 8) else []


def _published(card: Card, cases: Sequence[Case]) -> Iterator[Finding]:
    if card.published is None:
        return
    found = {"images": len(cases), "patients": len({case.patient for case in cases})}
    expected = card.published.model_dump(include={"images", "patients"})
    wrong = [f"{found[what]:,} {what} of {expected[what]:,}" for what in found]
    if any(found[what] != expected[what] for what in found):
        unsure = [what for what in card.published.unsure if what in found]
        doubt = f" (sources disagree on the {' and '.join(unsure)})" if unsure else ""
        yield Finding(
            f"{', '.join(wrong)} that are published{doubt}",
            "fetch what is missing, or go on with the part that is here: it is reported",
            problem=False,
        )
