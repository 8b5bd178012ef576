"""Skull, face, eyes, ears and jaw."""

from hermes.phantom.brain import brain
from hermes.phantom.combine import Common, Grown, Paired, Shell, Union
from hermes.phantom.patterns import Loops
from hermes.phantom.shapes import Ellipsoid, HalfSpace, Shape, Tube
from hermes.phantom.structure import Body, Structure


def head_outline() -> Shape:
    """Skin surface of the head."""
    return Union(
        [
            Ellipsoid((0, 6, 738), (79, 98, 76)),
            Ellipsoid((0, -40, 666), (62, 60, 72), power=2.4),
            Ellipsoid((0, -64, 628), (44, 40, 32), power=2.3),
            Ellipsoid((0, 10, 672), (68, 60, 60)),
            Ellipsoid((0, -102, 682), (11, 15, 18)),
            Paired(Ellipsoid((78, 22, 700), (6, 14, 28), (0, 0, 20))),
        ],
        blend=10,
    )


def head(body: Body, space: Shape) -> list[Structure]:
    """All structures of the head in painting order."""
    return [
        *_face(),
        *_skull(space),
        *brain(body, space),
        *_base(body),
        *_eyes(body),
        *_ears(body),
        *_jaw(body),
    ]


def _sided(name: str, shape: Shape, tissue: str, body: Body) -> list[Structure]:
    """The left structure as given and the right one as its mirror image, each varied by itself."""
    whole = {side: body.vary(f"{side}_{name}", Paired(shape)) for side in ("left", "right")}
    return [part for side in whole for part in _halves(name, whole[side], tissue, (side,))]


def _halves(
    name: str, shape: Shape, tissue: str, sides: tuple[str, ...] = ("left", "right")
) -> list[Structure]:
    """What of a shape lies left and right of the middle, as structures of their own."""
    middle = {"left": HalfSpace((0, 0, 0), (-1, 0, 0)), "right": HalfSpace((0, 0, 0), (1, 0, 0))}
    return [Structure((f"{s}_{name}",), Common([shape, middle[s]]), tissue) for s in sides]


def _face() -> list[Structure]:
    flesh = Union(
        [Ellipsoid((0, -38, 668), (52, 50, 64), power=2.3), Ellipsoid((0, 10, 672), (60, 54, 54))]
    )
    cheek = Paired(Ellipsoid((44, -56, 652), (12, 16, 18)))
    pharynx = Tube(
        [(0, -30, 684, 8), (0, -12, 660, 9), (0, -10, 630, 8), (0, -2, 604, 9)], 6, flatten=0.8
    )
    return [
        Structure((), flesh, "muscle"),
        Structure((), Loops(flesh, 54, 0.06, phase=0.7), "fat"),
        Structure((), cheek, "fat"),
        Structure((), Ellipsoid((0, -46, 642), (24, 34, 20)), "muscle"),
        Structure((), pharynx, "airway"),
        Structure((), Paired(Ellipsoid((17, 2, 582), (9, 11, 22))), "gland"),  # thyroid
    ]


def _skull(space: Shape) -> list[Structure]:
    bone = Grown(space, 6)
    maxilla = Ellipsoid((0, -58, 674), (38, 36, 24), power=2.5)
    cheekbone = Paired(Tube([(38, -76, 686, 9), (58, -52, 690, 6), (66, -12, 698, 5)], 5))
    forehead = Ellipsoid((0, -64, 724), (46, 22, 16), power=2.3)
    centre = Ellipsoid((0, -12, 702), (24, 30, 14))
    clivus = Tube([(0, 0, 708, 8), (0, 14, 684, 7)], 2)
    whole = Union([bone, maxilla, forehead, centre, clivus], blend=4)
    return [
        Structure((), whole, "cortical_bone"),
        Structure((), Shell(space, inner=-2, outer=4), "spongy_bone"),
        Structure((), Grown(Union([maxilla, centre, forehead]), -3), "spongy_bone"),
        Structure((), cheekbone, "cortical_bone"),
        *_sinuses(),
    ]


def _sinuses() -> list[Structure]:
    cavities = [
        Paired(Ellipsoid((24, -62, 680), (13, 19, 15), power=2.4)),
        Paired(Ellipsoid((7, -64, 682), (5, 36, 18), power=2.4)),
        Paired(Ellipsoid((8, -50, 708), (6, 22, 9))),
        Paired(Ellipsoid((7, -20, 698), (6, 11, 8))),
        Paired(Ellipsoid((12, -80, 738), (10, 5, 9))),
    ]
    return [Structure((), Union(cavities), "airway")]


def _base(body: Body) -> list[Structure]:
    """Chiasm in its cistern, the pituitary in its saddle of bone."""
    gland = body.vary("pituitary", Ellipsoid((0, -8, 708), (8.6, 7.4, 7.4)))
    chiasm = body.vary("optic_chiasm", Ellipsoid((0, -10, 722), (11, 8, 5.2)))
    return [
        Structure(("csf",), Ellipsoid((0, -6, 722), (18, 17, 9)), "csf"),
        Structure(
            (), Common([Grown(gland, 3), HalfSpace((0, 0, 710), (0, 0, 1))]), "cortical_bone"
        ),
        Structure(("pituitary",), gland, "pituitary"),
        Structure(("optic_chiasm",), chiasm, "nerve"),
    ]


def _eyes(body: Body) -> list[Structure]:
    orbit = Ellipsoid((28, -58, 712), (19, 32, 18), (0, 0, -14))
    nerve = Tube([(31, -64, 712, 4.4), (24, -40, 715, 4.4), (9, -16, 720, 4.2)], 6)
    muscles = Union(
        [
            Tube([(45, -68, 712, 3), (36, -40, 713, 3.5), (22, -28, 714, 2.5)], 4),
            Tube([(18, -70, 712, 3), (15, -44, 713, 3.5), (14, -30, 714, 2.5)], 4),
        ]
    )
    lens = Ellipsoid((33, -87, 712), (8, 5.2, 8))
    return [
        Structure((), Paired(Grown(orbit, 3)), "cortical_bone"),
        Structure((), Common([Paired(orbit), HalfSpace((0, -92, 0), (0, -1, 0))]), "fat"),
        Structure((), Paired(muscles), "muscle"),
        *_sided("optic_nerve", nerve, "nerve", body),
        Structure((), Paired(Ellipsoid((32, -76, 712), (15.8, 15.8, 15.8))), "muscle"),
        *_sided("eye", Ellipsoid((32, -76, 712), (14.2, 14.2, 14.2)), "eye_fluid", body),
        *_sided("lens", lens, "lens", body),
    ]


def _ears(body: Body) -> list[Structure]:
    petrous = Tube([(62, 24, 702, 15), (40, 16, 704, 13), (18, 2, 704, 9)], 4)
    mastoid = Ellipsoid((60, 38, 692), (13, 15, 20))
    canal = Tube([(60, 20, 702, 4.5), (84, 22, 702, 5)], 1)
    return [
        Structure((), Paired(Union([petrous, mastoid], blend=5)), "ear_bone"),
        Structure((), Paired(Loops(Grown(mastoid, -3), 17, 0.35)), "airway"),
        Structure((), Paired(canal), "airway"),
        *_sided("inner_ear", Ellipsoid((36, 14, 704), (9, 8, 8)), "fluid", body),
        *_sided("middle_ear", Ellipsoid((54, 20, 704), (8.5, 8.5, 8.5)), "airway", body),
    ]


def _jaw(body: Body) -> list[Structure]:
    bone = Tube(
        [
            (55, -4, 690, 7),
            (54, -2, 668, 7.5),
            (50, -8, 638, 8.5),
            (38, -46, 626, 8.5),
            (18, -74, 622, 9),
            (0, -84, 622, 9.5),
        ],
        13,
    )
    teeth = Tube([(28, -36, 644, 5), (22, -66, 644, 5), (0, -82, 644, 5)], 6)
    upper = Tube([(28, -36, 656, 5), (22, -66, 656, 5), (0, -82, 656, 5)], 6)
    chewing = Ellipsoid((61, -20, 652), (8, 17, 28))
    joint = Ellipsoid((55, -4, 697), (10.5, 9, 9))
    return [
        Structure((), Paired(chewing), "muscle"),
        Structure((), Paired(Union([teeth, upper])), "tooth"),
        *_halves("mandible", body.vary("mandible", Paired(bone)), "cortical_bone"),
        *_sided("parotid", Ellipsoid((58, 14, 662), (13, 20, 27), (0, 0, 15)), "parotid", body),
        *_sided("tmj", joint, "cartilage", body),
        *_halves("tmj", Paired(Ellipsoid((55, -4, 694), (7, 5.5, 6))), "cortical_bone"),
    ]
