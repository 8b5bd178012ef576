"""What the anatomy is made of: structures in painting order, and the body they belong to."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hermes.phantom.shapes import Number, Shape


@dataclass(eq=False)
class Structure:
    """A shape filled with a tissue. Later structures cover earlier ones.

    `names` are the names it answers to, the most particular first: a tumour of the liver is
    ("liver_tumor", "liver"). Empty names: anatomy that no dataset labels. Without a tissue it
    changes no grey value and only renames what lies in it and answers to a name in `within`.
    """

    names: tuple[str, ...]
    shape: Shape
    tissue: str | None
    within: tuple[str, ...] = ()


def unchanged(name: str, shape: Shape) -> Shape:
    """The variation of the average body: none."""
    return shape


@dataclass
class Body:
    """What differs between bodies apart from the smooth deformation.

    Attributes:
        fat_mm: thickness of the layer under the skin.
        sex: "f" or "m"; decides what lies between bladder and rectum.
        contraction: of the heart, 0 at the end of diastole, 1 at the end of systole.
        missing: structures this patient does not have.
        vary: gives a structure's shape its individual size and place, by name.
    """

    fat_mm: Number = 16
    sex: str = "m"
    contraction: Number = 0
    missing: frozenset[str] = frozenset()
    vary: Callable[[str, Shape], Shape] = field(default=unchanged)
