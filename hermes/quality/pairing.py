"""Do image and reference belong together as they lie? A mirrored one of the two betrays itself."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from hermes.convert.evidence import CLEARLY, FITS
from hermes.quality.facts import DatasetFacts
from hermes.quality.finding import Finding
from hermes.quality.fit import TURNS
from hermes.quality.measurements import CaseMeasured
from hermes.words import counted

CHECK = "pairing"

MOST_CASES = 0.5
"""ASSUME: share of the cases with one and the same fault that makes it the dataset's fault."""

MIRRORED = TURNS.index("mirrored left to right")

BLIND = (
    "whether an image is mirrored against its reference cannot be told from these structures and "
    "grey values"
)
APART = "image and reference do not belong together as they lie"


def better_turned(facts: DatasetFacts, case: CaseMeasured) -> str:
    """The one of `TURNS` with which the reference fits the image clearly better; "": as it lies.

    The median over the structures decides. Lesions are passed over: what they lie in may be more
    even than they are. ASSUME: the thresholds of `hermes.convert.evidence` for these medians; on
    the phantom and the samples the right reading of organs is at 0.05 to 0.6, or nothing fits.
    """
    misfits = _misfits(facts, case)
    if not len(misfits):
        return ""
    middle = np.median(misfits, axis=0)
    ratio = np.median(misfits / np.maximum(misfits[:, :1], 1e-6), axis=0)
    fitting = [
        turn for turn in range(1, len(TURNS)) if middle[turn] < FITS and ratio[turn] < CLEARLY
    ]
    return TURNS[min(fitting, key=lambda turn: ratio[turn], default=0)]


def _misfits(facts: DatasetFacts, case: CaseMeasured) -> Float64[np.ndarray, "structures turns"]:
    lesions = {label.structure for label in facts.labels if label.kind == "lesion"}
    rows = [e.misfits for name, e in case.structures.items() if e.misfits and name not in lesions]
    return np.array(rows, np.float64).reshape(-1, len(TURNS))


def _mirroring_shows(facts: DatasetFacts, case: CaseMeasured) -> bool:
    """Whether an exchange of left and right would have been found; not in a symmetrical head."""
    misfits = _misfits(facts, case)
    if not len(misfits):
        return False
    right, mirrored = misfits[:, 0], np.maximum(misfits[:, MIRRORED], 1e-6)
    return bool(np.median(right) < FITS and np.median(right / mirrored) < CLEARLY)


def check_pairs(facts: DatasetFacts, cases: Sequence[CaseMeasured]) -> list[Finding]:
    """References that fit their image better turned over; once where most of a dataset agrees."""
    turned = {case.name: turn for case in cases if (turn := better_turned(facts, case))}
    judged = sum(any(e.misfits for e in case.structures.values()) for case in cases)
    findings = []
    for turn in TURNS[1:]:
        names = [name for name, its in turned.items() if its == turn]
        text = f"the reference fits the scan better {turn}: {APART}"
        if len(names) >= max(2, MOST_CASES * judged):
            text = f"in {len(names)} of {judged} cases {text}"
            findings.append(Finding(facts.name, "", "error", CHECK, text))
        else:
            findings += [Finding(facts.name, name, "error", CHECK, text) for name in names]
    if not findings and judged:
        seen = sum(_mirroring_shows(facts, case) for case in cases)
        if not seen:
            return [Finding(facts.name, "", "note", CHECK, BLIND)]
        text = (
            "no reference fits its image better when it is turned over; one that is mirrored "
            f"would be seen in {seen} of {counted(len(cases), 'case')}"
        )
        return [Finding(facts.name, "", "ok", CHECK, text)]
    return findings
