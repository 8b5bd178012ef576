"""Findings on where structures lie: case by case, and once where most of a dataset agrees."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

from hermes.quality.anatomy import (
    DIRECTIONS,
    RELATIONS,
    TURNED,
    Relation,
    Verdict,
    describe,
    judge_case,
    sentence,
    side_relations,
)
from hermes.quality.facts import DatasetFacts
from hermes.quality.finding import Finding
from hermes.quality.measurements import CaseMeasured
from hermes.quality.pairing import better_turned

CHECK = "position"

MOST_CASES = 0.5
"""ASSUME: share of the cases with one and the same fault that makes it the dataset's fault."""

MAY_BE = {**TURNED, "left_of": "mirrored"}
WORDS = {"left_of": "left and right", "above": "head and foot", "in_front_of": "front and back"}
DARKNESS = "darker and brighter"

UNSEEN = ": look at the pictures"
"""Ends what is said of directions that no structure shows."""


def check_places(
    facts: DatasetFacts, cases: Sequence[CaseMeasured], relations: Sequence[Relation]
) -> list[Finding]:
    """Hold every case against anatomy and against the sides on the card."""
    relations = [*relations, *side_relations(facts.sides)]
    verdicts = {case.name: judge_case(case, relations) for case in cases if case.structures}
    unsound = {name: verdict for name, verdict in verdicts.items() if not verdict.sound}
    common, left = _common(facts, verdicts, unsound)
    findings = common + [
        _finding(facts, case, left[case.name]) for case in cases if case.name in left
    ]
    return findings + _reach(facts, verdicts, findings)


def _common(
    facts: DatasetFacts, verdicts: Mapping[str, Verdict], unsound: Mapping[str, Verdict]
) -> tuple[list[Finding], dict[str, Verdict]]:
    """Faults that most cases share, said once; and the cases that have others."""
    names = {label.structure: label.name for label in facts.labels}
    left, findings = dict(unsound), []
    while left and len(verdicts) > 1:
        counter = Counter(fault for verdict in left.values() for fault in _faults(verdict))
        fault, number = counter.most_common(1)[0]
        if number < max(2, MOST_CASES * len(verdicts)):
            break
        those = [name for name, verdict in left.items() if fault in _faults(verdict)]
        text = _dataset_text(facts, left[those[0]], fault, names)
        more = f"in {number} of {len(verdicts)} cases: {text}"
        findings.append(Finding(facts.name, "", "error", CHECK, more))
        left = {name: verdict for name, verdict in left.items() if name not in those}
    return findings, left


def _faults(verdict: Verdict) -> list[Hashable]:
    """What a verdict can have in common with others."""
    if verdict.turned:
        return [verdict.turned]
    return [verdict.exchanged] if verdict.exchanged else list(verdict.broken)


def _dataset_text(
    facts: DatasetFacts, verdict: Verdict, fault: Hashable, names: Mapping[str, str]
) -> str:
    if isinstance(fault, Relation):
        return f"{sentence(fault, names)}{_hint(fault, verdict)}"
    text = describe(verdict, names)
    if verdict.exchanged:
        one, other = (facts.label(name).value for name in verdict.exchanged)
        text += f" (values {one} and {other})"
    return text


def _hint(relation: Relation, verdict: Verdict) -> str:
    """One relation alone cannot tell a scan that is turned over from an odd structure."""
    alone = relation.relation in TURNED and verdict.judged[relation.relation] == 1
    return f": the scan may be {MAY_BE[relation.relation]}" if alone else ""


def _finding(facts: DatasetFacts, case: CaseMeasured, verdict: Verdict) -> Finding:
    names = {label.structure: label.name for label in facts.labels}
    text = describe(verdict, names)
    if verdict.turned and better_turned(facts, case) in [TURNED[way] for way in verdict.turned]:
        text += ": the reference alone, for the scan fits it better when it is turned back"
    elif verdict.turned == ("left_of",):
        text += ": scan and reference; or organs on the other side from birth (situs inversus)"
    elif len(verdict.broken) == 1 and not verdict.exchanged:
        text += _hint(verdict.broken[0], verdict)
    return Finding(facts.name, case.name, "error" if verdict.grave else "warning", CHECK, text)


def _reach(
    facts: DatasetFacts, verdicts: Mapping[str, Verdict], findings: Sequence[Finding]
) -> list[Finding]:
    """What the check could see at all, so that silence is not taken for soundness."""
    judged = {
        kind: sum(verdict.judged[kind] > 0 for verdict in verdicts.values()) for kind in RELATIONS
    }
    blind = [WORDS[kind] for kind in DIRECTIONS if not judged[kind]]
    seen = [f"{WORDS.get(kind, DARKNESS)} in {judged[kind]}" for kind in RELATIONS if judged[kind]]
    found = []
    if blind:
        what = "orientation" if len(blind) == len(DIRECTIONS) else ", ".join(blind)
        text = f"{what} cannot be checked{UNSEEN}"
        found.append(Finding(facts.name, "", "note", CHECK, text))
    if seen and not findings:
        text = f"holds where it can be checked: {', '.join(seen)} cases"
        found.append(Finding(facts.name, "", "ok", CHECK, text))
    return found
