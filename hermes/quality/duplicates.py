"""One scan or one reference more than once, within a dataset and between datasets."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from hermes.quality.finding import Finding
from hermes.quality.measurements import CaseMeasured
from hermes.words import counted, some

CHECK = "duplicates"

GROUPS_NAMED = 20
"""Groups of a dataset that are listed one by one; the rest are counted."""

LABEL_TEXT = "same reference, different images"


@dataclass(frozen=True)
class Copy:
    """One of the cases that hold the same voxels."""

    dataset: str
    case: str
    patient: str
    split: str
    image: str
    label: str

    @property
    def name(self) -> str:
        return f"{self.dataset} {self.case}" + (f" ({self.split})" if self.split else "")


def find_duplicates(
    datasets: Mapping[str, Sequence[CaseMeasured]],
    splits: Mapping[str, Mapping[str, str]],
    trained: Collection[str],
) -> list[Finding]:
    """Find voxels that occur more than once.

    References without any voxel are alike and say nothing. Images of one patient may share one
    reference, as two echoes of a sequence do.

    Args:
        datasets: measurements by dataset.
        splits: by dataset, case -> train, val or test.
        trained: datasets that universal networks are trained on, whatever these are tested on.
    """
    copies = [
        Copy(
            dataset,
            case.name,
            case.patient,
            splits.get(dataset, {}).get(case.name, ""),
            case.row["image_sha256"],
            case.row["label_sha256"] if case.structures else "",
        )
        for dataset, cases in datasets.items()
        for case in cases
    ]
    images = _groups(copies, "image")
    known = {copy for group in images for copy in group}
    labels = [g for g in _groups(copies, "label") if not set(g) <= known and _patients(g) > 1]
    found = [
        finding for group in images for finding in _findings(group, _image_text(group), trained)
    ]
    found += [finding for group in labels for finding in _findings(group, LABEL_TEXT, trained)]
    return _summed_up(found)


def _groups(copies: Sequence[Copy], what: str) -> list[list[Copy]]:
    found: dict[str, list[Copy]] = defaultdict(list)
    for copy in copies:
        if getattr(copy, what):
            found[getattr(copy, what)].append(copy)
    return [group for group in found.values() if len(group) > 1]


def _patients(group: Sequence[Copy]) -> int:
    return len({(copy.dataset, copy.patient) for copy in group})


def _image_text(group: Sequence[Copy]) -> str:
    one_label = len({copy.label for copy in group}) == 1
    return "same image, same reference" if one_label else "same image, different references"


def _findings(group: Sequence[Copy], text: str, trained: Collection[str]) -> list[Finding]:
    """One for each dataset that a group reaches into, at its first case there."""
    firsts: dict[str, Copy] = {}
    for copy in group:
        firsts.setdefault(copy.dataset, copy)
    text = f"{text}: {some(copy.name for copy in group)}"
    train = {copy.dataset for copy in group if copy.split == "train"}
    test = {copy.dataset for copy in group if copy.split == "test"}
    text += "; a test scan is trained on" if train and test else ""
    grave = train & test or (test and train & set(trained))
    level = "error" if grave else "warning"
    return [Finding(name, copy.case, level, CHECK, text) for name, copy in firsts.items()]


def _summed_up(findings: Sequence[Finding]) -> list[Finding]:
    """The first findings of each dataset, and one that counts the rest."""
    shown: Counter[str] = Counter()
    kept = []
    for finding in findings:
        shown[finding.dataset] += 1
        if shown[finding.dataset] <= GROUPS_NAMED:
            kept.append(finding)
    for dataset, number in shown.items():
        if number > GROUPS_NAMED:
            more = counted(number - GROUPS_NAMED, "more group")
            kept.append(Finding(dataset, "", "warning", CHECK, f"{more} of equal scans"))
    return kept
