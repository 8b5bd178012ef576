"""The published code's split lists, followed patient by patient; their mistakes named and mended.

A mistake is mended by one rule: an entry that a list names twice counts once, and a patient that is
on several sides goes to the one furthest from training (test, then validation). So no patient of
the published test lists is trained or selected on, and the test list stays whole, which is what a
comparison with the published numbers needs.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from hermes.config.schema import ReferenceList
from hermes.split.notes import Note
from hermes.split.rule import SIDES, SplitError
from hermes.words import counted

Lists = Mapping[str, Sequence[str | int]]

FIRST = ("test", "val", "train")
"""The side that a patient named on several of them goes to: the first of these."""


def assign_listed(
    images: Mapping[str, int], reference: ReferenceList, lists: Lists, *, dataset: str
) -> tuple[dict[str, str], list[Note]]:
    """Assign patients to the side on which the published lists name them.

    Args:
        images: patient -> number of its images here.
        reference: how the lists name the dataset and its patients.
        lists: `<key>_train`, `<key>_val`, `<key>_test` -> entries.
        dataset: its name.

    Returns:
        Patient -> side, of the patients that are listed and here; and what is to be said:
        mistakes mended, patients listed but not here, patients here but not listed.

    Raises:
        SplitError: the lists lack the dataset, the card's template does not fit an entry, or no
            training or no test patient of the lists is here.
    """
    entries = {side: _entries(lists, f"{reference.key}_{side}", dataset) for side in SIDES}
    named = {side: [patient_of(e, reference, dataset) for e in entries[side]] for side in SIDES}
    listed = {patient: side for side in reversed(FIRST) for patient in named[side]}
    split = {patient: listed[patient] for patient in sorted(images) if patient in listed}
    _no_side_empty(split, named, images, dataset)
    sizes = "/".join(str(len(entries[side])) for side in SIDES)
    notes = [
        Note("protocol", f"reference: published lists {reference.key!r}, {sizes} entries"),
        *_doubled(entries, reference, dataset),
        *_on_two_sides(named, listed),
        *_absent(listed, images),
    ]
    if reference.strip:
        notes += _other_studies(named, images)
    return split, notes


def patient_of(entry: str | int, reference: ReferenceList, dataset: str) -> str:
    """Our name of the patient that an entry of the lists stands for."""
    bare = re.sub(reference.strip, "", entry) if isinstance(entry, str) else entry
    try:
        return reference.patient.format(id=bare)
    except (ValueError, KeyError, IndexError) as error:
        raise SplitError(
            f"{dataset}: split.reference.patient {reference.patient!r} of the card does not fit "
            f"the entry {entry!r} of the published lists: {error}"
        ) from None


def _entries(lists: Lists, name: str, dataset: str) -> Sequence[str | int]:
    if name not in lists:
        raise SplitError(
            f"{dataset}: no list {name!r} among the published ones; correct split.reference.key "
            "of the card"
        )
    return lists[name]


def _no_side_empty(
    split: dict[str, str],
    named: dict[str, list[str]],
    images: Mapping[str, int],
    dataset: str,
) -> None:
    """An empty validation side is allowed: some lists name one patient, and a copy may lack it."""
    empty = [side for side in ("train", "test") if side not in split.values()]
    if empty:
        ours = ", ".join(sorted(images)[:3])
        raise SplitError(
            f"{dataset}: no patient of the published {' and '.join(empty)} list is here. The lists "
            f"name {', '.join(named[empty[0]][:3])}, ...; here are {ours}, ...; look at the raw "
            "files, or take protocol split: paper"
        )


def _doubled(
    entries: dict[str, Sequence[str | int]], reference: ReferenceList, dataset: str
) -> list[Note]:
    return [
        Note(
            "mended",
            f"the published {side} list names {entry!r} {count} times; counted once",
            (patient_of(entry, reference, dataset),),
        )
        for side in SIDES
        for entry, count in Counter(entries[side]).items()
        if count > 1
    ]


def _on_two_sides(named: dict[str, list[str]], listed: dict[str, str]) -> list[Note]:
    notes = []
    for patient, kept in listed.items():
        sides = [side for side in SIDES if patient in named[side]]
        if len(sides) > 1:
            text = (
                f"the published lists have one patient in {' and '.join(sides)}; taken for {kept}"
            )
            notes.append(Note("mended", text, (patient,)))
    return notes


def _absent(listed: dict[str, str], images: Mapping[str, int]) -> list[Note]:
    notes = []
    for side in SIDES:
        missing = tuple(sorted(p for p, s in listed.items() if s == side and p not in images))
        if missing:
            text = f"{counted(len(missing), 'patient')} of the published {side} list not here"
            notes.append(Note("missing", text, missing))
    unlisted = tuple(sorted(set(images) - set(listed)))
    if unlisted:
        text = f"{counted(len(unlisted), 'patient')} in no published list, left out"
        notes.append(Note("unused", text, unlisted))
    return notes


def _other_studies(named: dict[str, list[str]], images: Mapping[str, int]) -> list[Note]:
    """Where entries are studies: patients with another number of them here.

    The lists count a patient's studies in the order of a directory listing, which says nothing of
    which study is meant; all that are here go with their patient.
    """
    listed = Counter(patient for side in SIDES for patient in named[side])
    other = tuple(sorted(p for p, n in listed.items() if p in images and images[p] != n))
    if not other:
        return []
    number = counted(len(other), "patient")
    text = f"{number} with another number of studies here; all studies are used"
    return [Note("count", text, other)]
