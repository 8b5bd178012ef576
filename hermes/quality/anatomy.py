"""Where organs lie to one another: relations that hold for practically everyone who lies supine.

The relations are a table, `config/anatomy.tsv`. One that is broken is a structure out of place;
when most that speak of one direction are broken, the scan is turned over; when one exchange of two
names mends all, two labels have changed places.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hermes.files.tables import read_tsv
from hermes.quality.measurements import CaseMeasured, Extent

DIRECTIONS = ("left_of", "above", "in_front_of")
DARKER = {"darker_on_ct": "ct", "darker_on_t1": "t1", "darker_on_cine": "cine"}
"""Relations of mean grey values, and the modality on which they hold."""

RELATIONS = (*DIRECTIONS, *DARKER)

BODY = "body"
"""Stands for the middle of the body: the centre of what is brighter than the image's mean."""

MARGIN_MM = 3.0
"""ASSUME: a centroid is this far on the wrong side before a relation counts as broken."""

MARGIN_HU = 50.0
"""ASSUME: the same for CT numbers; air is some 900 HU darker than any organ."""

MARGIN_SHARE = 0.05
"""ASSUME: the same for MR, as a share of the brighter one's grey value."""

MOST = 2 / 3
"""ASSUME: share of a direction's relations that are broken when a scan is turned over."""

ENDS = {"left_of": ("L", "R"), "above": ("S", "I"), "in_front_of": ("A", "P")}
"""Where the field of view cuts the first structure at the first of these sides, or the other one at
the second, what is left of it lies nearer to the other: the relation may then seem broken."""

TURNED = {
    "left_of": "mirrored left to right",
    "above": "upside down",
    "in_front_of": "turned front to back",
}


class AnatomyError(ValueError):
    """The table of relations cannot be used; the message names the file."""


@dataclass(frozen=True)
class Relation:
    """`structure` is left of, above, in front of, or darker than `other`."""

    structure: str
    relation: str
    other: str


def load_relations(path: str | Path) -> list[Relation]:
    """Read `config/anatomy.tsv` (structure, relation, other).

    Raises:
        AnatomyError: a relation that is none of `RELATIONS`, or a structure beside itself.
    """
    rows = [Relation(**row) for row in read_tsv(path)]
    for row in rows:
        if row.relation not in RELATIONS or row.structure == row.other:
            raise AnatomyError(
                f"{path}: {row.structure} {row.relation} {row.other}: two structures and one of "
                f"{', '.join(RELATIONS)}"
            )
    return rows


def side_relations(sides: Mapping[str, str]) -> list[Relation]:
    """A card's sides as relations to the middle of the body."""
    return [
        Relation(name, "left_of", BODY) if side == "left" else Relation(BODY, "left_of", name)
        for name, side in sides.items()
    ]


@dataclass(frozen=True)
class Verdict:
    """What the relations say of one case; all empty but `judged` where nothing is wrong.

    Attributes:
        judged: relations by kind that the case's structures allow to check.
        turned: directions in which the case is turned over.
        exchanged: two structures whose exchange of names leaves nothing broken.
        broken: the relations that are broken, where the case is not turned over.
    """

    judged: Mapping[str, int]
    turned: tuple[str, ...] = ()
    exchanged: tuple[str, ...] = ()
    broken: tuple[Relation, ...] = ()

    @property
    def sound(self) -> bool:
        return not self.turned and not self.broken

    @property
    def grave(self) -> bool:
        """Turned over, or an exchange of labels that more than one relation speaks for."""
        return bool(self.turned) or (bool(self.exchanged) and len(self.broken) > 1)


def judge_case(case: CaseMeasured, relations: Sequence[Relation]) -> Verdict:
    """Hold one case against the relations between the structures that it has."""
    known, held = _held(case, relations)
    judged = {kind: sum(r.relation == kind for r in held) for kind in RELATIONS}
    broken = [r for r in held if is_broken(r, known)]
    turned = tuple(kind for kind in DIRECTIONS if _turned(kind, held, broken))
    unexcused = tuple(r for r in broken if not _cut(r, known))
    if not turned and not unexcused:
        return Verdict(judged)
    return Verdict(judged, turned, _exchanged(held, known, broken), () if turned else unexcused)


def _held(
    case: CaseMeasured, relations: Sequence[Relation]
) -> tuple[dict[str, Extent], list[Relation]]:
    """The structures of a case with its body, and the relations that can be checked on them."""
    known = {**case.structures, BODY: Extent(0.0, case.body_mm, "", 0.0)}
    held = [r for r in relations if r.structure in known and r.other in known]
    return known, [r for r in held if DARKER.get(r.relation, case.modality) == case.modality]


def exchange_excluded(
    cases: Sequence[CaseMeasured], relations: Sequence[Relation], one: str, other: str
) -> bool:
    """Whether two labels cannot have changed places: in most cases that would break relations."""
    both = [case for case in cases if one in case.structures and other in case.structures]
    worse = 0
    for case in both:
        known, held = _held(case, relations)
        changed = {**known, one: known[other], other: known[one]}
        before = sum(is_broken(r, known) and not _cut(r, known) for r in held)
        worse += sum(is_broken(r, changed) and not _cut(r, changed) for r in held) > before
    return worse > len(both) / 2


def describe(verdict: Verdict, names: Mapping[str, str]) -> str:
    """A verdict in words; `names` has a structure's name inside a sentence."""
    pair = " and ".join(names[name] for name in verdict.exchanged)
    if verdict.turned:
        also = f", or {pair} are exchanged" if pair else ""
        return " and ".join(TURNED[kind] for kind in verdict.turned) + also
    if pair:
        return f"{pair} look exchanged"
    sentences = [sentence(relation, names) for relation in verdict.broken]
    more = f"; and {len(sentences) - 3} more such relations" if len(sentences) > 3 else ""
    return "; ".join(sentences[:3]) + more


def clearance(relation: Relation, known: Mapping[str, Extent]) -> float:
    """How far a relation holds, in margins; below -1 it is broken, above 1 it holds for certain."""
    one, other = known[relation.structure], known[relation.other]
    if relation.relation in DARKER:
        greys = one.mean_intensity, other.mean_intensity
        on_ct = DARKER[relation.relation] == "ct"
        margin = MARGIN_HU if on_ct else MARGIN_SHARE * max(map(abs, greys))
        return (greys[1] - greys[0]) / (margin or 1.0)
    left, posterior, superior = (
        a - b for a, b in zip(one.centroid_mm, other.centroid_mm, strict=True)
    )
    distance = {"left_of": left, "above": superior, "in_front_of": -posterior}
    return distance[relation.relation] / MARGIN_MM


def is_broken(relation: Relation, known: Mapping[str, Extent]) -> bool:
    """Whether two structures lie the other way round, by more than the margin."""
    return clearance(relation, known) < -1


def _turned(kind: str, held: Sequence[Relation], broken: Sequence[Relation]) -> bool:
    """Most relations of a direction are broken, at least two, and whichever structure is left out.

    One structure that many relations name cannot turn a scan over when the others lie well.
    """
    judged = [r for r in held if r.relation == kind]
    if len(judged) < 2 or not _most(judged, broken):
        return False
    rests = [
        [r for r in judged if name not in (r.structure, r.other)]
        for name in {name for r in judged for name in (r.structure, r.other)}
    ]
    return all(_most(rest, broken) for rest in rests if rest)


def _most(judged: Sequence[Relation], broken: Sequence[Relation]) -> bool:
    return sum(r in broken for r in judged) >= MOST * len(judged)


def _cut(relation: Relation, known: Mapping[str, Extent]) -> bool:
    """Whether the field of view cuts one of the two so that the relation may seem broken."""
    first, second = ENDS.get(relation.relation, ("-", "-"))
    return first in known[relation.structure].touches or second in known[relation.other].touches


def _exchanged(
    held: Sequence[Relation], known: Mapping[str, Extent], broken: Sequence[Relation]
) -> tuple[str, ...]:
    """Two structures whose exchange of names mends all that is broken and breaks nothing."""
    named = {name for r in broken for name in (r.structure, r.other)} - {BODY}
    for one, other in itertools.combinations([name for name in known if name in named], 2):
        changed = {**known, one: known[other], other: known[one]}
        mended = all(clearance(r, changed) > 1 or _cut(r, changed) for r in broken)
        if mended and not any(is_broken(r, changed) and not _cut(r, changed) for r in held):
            return one, other
    return ()


def sentence(relation: Relation, names: Mapping[str, str]) -> str:
    """A broken relation in words."""
    if relation.other == BODY:
        return f"{names[relation.structure]} lies on the patient's right"
    if relation.structure == BODY:
        return f"{names[relation.other]} lies on the patient's left"
    words = {
        "left_of": "does not lie to the left of",
        "above": "does not lie above",
        "in_front_of": "does not lie in front of",
    }
    verb = words.get(relation.relation, "is not darker than")
    return f"{names[relation.structure]} {verb} {names[relation.other]}"
