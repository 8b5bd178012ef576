"""The whole body in painting order."""

from hermes.phantom.abdomen import abdomen
from hermes.phantom.brain import brain_space
from hermes.phantom.head import head, head_outline
from hermes.phantom.shapes import Shape
from hermes.phantom.structure import Body, Structure
from hermes.phantom.thorax import airways, great_vessels, heart, lungs
from hermes.phantom.trunk import cavities, make_trunk, skeleton, soft_tissue


def anatomy(body: Body) -> list[Structure]:
    """All structures of a body; each covers the ones before it."""
    trunk = make_trunk(body, head_outline())
    heart_parts = heart(body)
    whole_heart = heart_parts[1].shape
    first_cavity, *others = cavities(trunk)
    return [
        *soft_tissue(body, trunk),
        first_cavity,
        *lungs(body, trunk, whole_heart),
        *others,
        *abdomen(body, trunk),
        *heart_parts,
        *great_vessels(body),
        *airways(body),
        *skeleton(trunk),
        *head(body, brain_space()),
    ]


def shape_of(structures: list[Structure], name: str) -> Shape:
    """The first shape that answers to a name.

    Raises:
        KeyError: when no structure has the name.
    """
    for structure in structures:
        if name in structure.names:
            return structure.shape
    raise KeyError(name)
