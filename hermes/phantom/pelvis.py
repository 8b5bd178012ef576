"""Bowel, back muscles and the organs of the pelvis: what no dataset but AMOS looks at."""

from hermes.phantom.combine import Common, Grown, Paired, Shared, Union
from hermes.phantom.patterns import Loops, Wavy
from hermes.phantom.shapes import Ellipsoid, HalfSpace, Shape, Stack, Tube
from hermes.phantom.structure import Body, Structure


def back_muscles() -> list[Structure]:
    """Psoas and the legs of the diaphragm."""
    psoas = Stack(
        [
            (30, 66, -8, 18, 17),
            (80, 54, 22, 20, 20),
            (150, 44, 38, 18, 20),
            (215, 34, 44, 12, 14),
            (245, 28, 46, 7, 8),
        ]
    )
    crura = Tube([(12, 30, 215, 4), (15, 26, 270, 6), (17, 22, 318, 5)], 4)
    return [Structure((), Paired(psoas), "muscle"), Structure((), Paired(crura), "muscle")]


def bowel(inner: Shape) -> list[Structure]:
    """Loops of small bowel and the frame of the colon with gas in front."""
    space = Common([Ellipsoid((6, -34, 130), (94, 46, 84), power=2.4), inner], blend=10)
    wall = Shared(Loops(space, 66, 0.55, phase=0.4))
    colon = Union(
        [
            Tube([(-96, 8, 70, 24), (-104, 10, 130, 22), (-100, -2, 186, 22)], 5),
            Tube(
                [(-92, -36, 196, 19), (-40, -66, 180, 18), (30, -68, 184, 17), (86, -30, 224, 17)],
                8,
            ),
            Tube([(106, 8, 232, 15), (108, 22, 160, 14), (96, 14, 80, 14), (40, 10, 62, 14)], 8),
            Tube([(30, 20, 66, 14), (4, 58, 50, 15), (0, 58, 10, 17), (0, 48, -40, 12)], 7),
        ]
    )
    colon = Shared(Wavy(colon, 2.5, 34))
    return [
        Structure((), wall, "bowel_wall"),
        Structure((), Grown(wall, -4), "bowel_content"),
        Structure((), colon, "bowel_wall"),
        Structure((), Grown(colon, -4.5), "bowel_content"),
        Structure((), Common([Grown(colon, -5), HalfSpace((0, -44, 0), (0, 1, 0))]), "airway"),
    ]


def pelvic_organs(body: Body, inner: Shape) -> list[Structure]:
    """Bladder and, behind and below it, prostate or uterus."""
    bladder = body.vary("bladder", Ellipsoid((0, -22, 28), (44, 36, 34), (12, 0, 0), 2.2))
    if body.sex == "m":
        behind = body.vary("prostate_or_uterus", Ellipsoid((0, -4, -16), (26, 22, 20)))
        tissue = "prostate"
    else:
        uterus = Union(
            [Ellipsoid((2, 14, 58), (30, 24, 26)), Ellipsoid((0, 24, 22), (17, 15, 26))], blend=10
        )
        behind, tissue = body.vary("prostate_or_uterus", uterus), "uterus"
    return [
        Structure(("prostate_or_uterus",), behind, tissue),
        Structure((), Grown(bladder, 3), "muscle"),
        Structure(("bladder",), bladder, "urine"),
    ]
