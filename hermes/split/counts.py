"""Counts: are the patients and images there that the card says there are?"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from hermes.split.notes import Note
from hermes.split.rule import SplitError

NOUNS = {"patients": "patients", "images": "images", "empty": "images without any annotated voxel"}


@dataclass(frozen=True)
class Difference:
    """A number of a dataset that is not the expected one.

    Attributes:
        key: `patients`, `images` or `empty`.
        found: the number that is here.
        expected: the number that should be.
        unsure: the dataset's sources disagree on it.
        grave: it must agree, so that nothing is trained on the dataset as it is.
    """

    key: str
    found: int
    expected: int
    unsure: bool
    grave: bool

    @property
    def text(self) -> str:
        return f"{self.found} {NOUNS[self.key]} instead of {self.expected}"


def differences(
    rows: Sequence[Mapping[str, str]],
    expected: Mapping[str, int],
    *,
    source: str,
    unsure: Collection[str] = (),
) -> list[Difference]:
    """Compare the numbers of patients, images and empty images with what is expected.

    Args:
        rows: of the convert stage's `cases.tsv`.
        expected: `patients`, `images` and `empty`, as far as they are known.
        source: of the raw files. "copy": a person's own, which may be another edition. Otherwise
            ("download", "phantom") numbers must agree.
        unsure: numbers on which the dataset's sources disagree: they need not, whatever the source.
    """
    found = {
        "patients": len({row["patient"] for row in rows}),
        "images": len(rows),
        "empty": sum(bool(row["label_sha256"]) and not row["structures"] for row in rows),
    }
    return [
        Difference(key, found[key], n, key in unsure, source != "copy" and key not in unsure)
        for key, n in expected.items()
        if found[key] != n
    ]


def check_counts(
    dataset: str,
    rows: Sequence[Mapping[str, str]],
    expected: Mapping[str, int],
    *,
    source: str,
    unsure: Collection[str] = (),
    rejected: str = "rejected.tsv",
) -> list[Note]:
    """Refuse numbers that must agree and do not; note the others that do not.

    Args:
        dataset: its name.
        rows, expected, source, unsure: as in `differences`.
        rejected: where the convert stage says which cases cannot be used.

    Raises:
        SplitError: a number that must agree does not.
    """
    wrong = differences(rows, expected, source=source, unsure=unsure)
    if grave := [difference.text for difference in wrong if difference.grave]:
        raise SplitError(
            f"{dataset}: {', '.join(grave)}. Cases that cannot be used are in {rejected}, with the "
            "reason; if the owners changed the set, correct `published` in its card"
        )
    return [
        Note("count", f"{each.text} ({'sources disagree' if each.unsure else 'your own copy'})")
        for each in wrong
    ]
