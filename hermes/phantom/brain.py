"""Brain: the space inside the skull, cortex, white matter, ventricles, cerebellum, stem."""

from hermes.phantom.combine import Common, Grown, Paired, Shared, Shell, Union, Without
from hermes.phantom.patterns import Loops, Wavy
from hermes.phantom.shapes import Ellipsoid, HalfSpace, Shape, Tube
from hermes.phantom.structure import Body, Structure

BRAIN = ("gray_matter", "white_matter", "csf")


def brain_space() -> Shape:
    """The inside of the skull: the vault on three fossae, like steps."""
    vault = Common([Ellipsoid((0, 6, 738), (68, 87, 66)), HalfSpace((0, 0, 726), (0, 0.12, -1))])
    temporal = Paired(Ellipsoid((42, -6, 718), (23, 38, 20)))
    cerebellum = Ellipsoid((0, 50, 706), (54, 34, 28))
    return Shared(Union([vault, temporal, cerebellum], blend=8))


def brain(body: Body, space: Shape) -> list[Structure]:
    """Folded gray matter, white matter, ventricles, deep nuclei, cerebellum, brain stem."""
    return [
        Structure(("csf",), space, "csf"),
        *_cortex(space),
        *_cerebellum(space),
        *_clefts(space),
        *_deep(),
        *_ventricles(body),
        *_stem(body),
        *_temporal_lobes(body),
    ]


def _cortex(space: Shape) -> list[Structure]:
    """A layer of gray matter that follows winding clefts inwards (thicker than life, ASSUME)."""
    surface = Wavy(Grown(space, -3), 1.5, 40)
    ribbon, walls, clefts = (
        Shell(space, 13),
        Loops(Shell(space, 24), 50, 0.52, phase=0.9),
        Loops(Shell(space, 17), 50, 0.13, phase=0.9),
    )
    gray = Common([Union([ribbon, walls]), surface])
    return [
        Structure(("white_matter",), surface, "white_matter"),
        Structure(("gray_matter",), gray, "gray_matter"),
        Structure(("csf",), clefts, "csf"),
    ]


def _cerebellum(space: Shape) -> list[Structure]:
    whole = Common([Ellipsoid((0, 52, 704), (52, 34, 26)), Grown(space, -3)])
    roof = Shell(Ellipsoid((0, 52, 700), (60, 40, 33)), inner=3)
    white = Paired(Ellipsoid((24, 50, 704), (17, 15, 9)))
    return [
        Structure(("csf",), Common([roof, space, HalfSpace((0, 20, 0), (0, -1, 0))]), "csf"),
        Structure(("gray_matter",), whole, "gray_matter"),
        Structure(("white_matter",), Wavy(white, 3, 14), "white_matter"),
    ]


def _clefts(space: Shape) -> list[Structure]:
    midline = Without(
        Common([Ellipsoid((0, 6, 750), (1.8, 120, 80), power=6), space]),
        [Ellipsoid((0, 4, 732), (40, 54, 42)), Ellipsoid((0, 52, 700), (60, 40, 30))],
    )
    sylvian = Paired(Ellipsoid((50, 2, 737), (18, 36, 3), (-16, -8, 0)))
    return [
        Structure(("csf",), midline, "csf"),
        Structure(("csf",), Common([sylvian, space]), "csf"),
    ]


def _deep() -> list[Structure]:
    nuclei = Paired(
        Union(
            [
                Ellipsoid((11, 8, 744), (8, 14, 9)),
                Ellipsoid((26, -6, 744), (6, 18, 10), (0, 0, 12)),
                Ellipsoid((12, -28, 750), (6, 9, 8)),
            ]
        )
    )
    corpus = Tube([(0, -34, 752, 8), (0, -16, 766, 7), (0, 14, 768, 7), (0, 36, 758, 9)], 7)
    return [
        Structure(("white_matter",), corpus, "white_matter"),
        Structure(("gray_matter",), nuclei, "gray_matter"),
    ]


def _ventricles(body: Body) -> list[Structure]:
    lateral = Union(
        [
            Tube([(9, -42, 748, 5), (9, -12, 758, 6), (15, 18, 758, 7), (26, 44, 748, 8)], 7),
            Tube([(26, 40, 748, 6), (36, 22, 730, 4.5), (36, -2, 722, 4)], 4),
        ]
    )
    lateral = body.vary("ventricles", Paired(lateral))
    third = Ellipsoid((0, 2, 740), (3, 16, 11))
    fourth = Ellipsoid((0, 36, 706), (10, 6, 11))
    return [Structure(("csf",), Union([lateral, third, fourth]), "csf")]


def _stem(body: Body) -> list[Structure]:
    stem = Tube([(0, 10, 742, 13), (0, 14, 722, 15.5), (0, 24, 702, 12.5), (0, 36, 680, 9.5)], 7)
    stem = body.vary("brain_stem", stem)
    return [
        Structure(("csf",), Common([Grown(stem, 4), HalfSpace((0, 14, 722), (0, -0.4, 1))]), "csf"),
        Structure(("brain_stem",), stem, "white_matter"),
    ]


def _temporal_lobes(body: Body) -> list[Structure]:
    """Regions of the brain below the lateral cleft: named, but of the same tissue as the rest."""
    lobe = Common(
        [Ellipsoid((44, -2, 720), (28, 46, 26)), HalfSpace((44, 2, 737), (0.14, -0.27, 1))]
    )
    structures = []
    for side, sign in (("left", 1), ("right", -1)):
        half = HalfSpace((sign * 16, 0, 0), (-sign, 0, 0))
        region = Common([Paired(lobe), half])
        structures.append(Structure((f"{side}_temporal_lobe",), region, None, within=BRAIN))
    return structures
