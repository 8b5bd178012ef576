"""Counts: are the patients and images there that the card says there are?"""

from collections.abc import Collection, Mapping, Sequence

from hermes.split.notes import Note
from hermes.split.rule import SplitError

NOUNS = {"patients": "patients", "images": "images", "empty": "images without any annotated voxel"}


def check_counts(
    dataset: str,
    rows: Sequence[Mapping[str, str]],
    expected: Mapping[str, int],
    *,
    source: str,
    unsure: Collection[str] = (),
    rejected: str = "rejected.tsv",
) -> list[Note]:
    """Compare the numbers of patients, images and empty images with what is expected.

    Args:
        dataset: its name.
        rows: of the convert stage's `cases.tsv`.
        expected: `patients`, `images` and `empty`, as far as they are known.
        source: of the raw files. "copy": a person's own, which may be another edition; there
            numbers are reported. Otherwise ("download", "phantom") they must agree.
        unsure: numbers on which the dataset's sources disagree: reported, whatever the source.
        rejected: where the convert stage says which cases cannot be used.

    Returns:
        A note for every number that is reported.

    Raises:
        SplitError: a number that must agree does not.
    """
    found = {
        "patients": len({row["patient"] for row in rows}),
        "images": len(rows),
        "empty": sum(bool(row["label_sha256"]) and not row["structures"] for row in rows),
    }
    wrong = {key: n for key, n in expected.items() if found[key] != n}
    certain = [key for key in wrong if source != "copy" and key not in unsure]
    said = {key: f"{found[key]} {NOUNS[key]} instead of {n}" for key, n in wrong.items()}
    if certain:
        raise SplitError(
            f"{dataset}: {', '.join(said[key] for key in certain)}. Cases that cannot be used are "
            f"in {rejected}, with the reason; if the owners changed the set, correct `published` "
            "in its card"
        )
    why = {key: "sources disagree" if key in unsure else "your own copy" for key in wrong}
    return [Note("count", f"{said[key]} ({why[key]})") for key in wrong]
