"""Outline, muscle, skeleton and cavities of the trunk: the space the organs lie in."""

from dataclasses import dataclass

import numpy as np

from hermes.phantom.combine import Common, Grown, Paired, Shared, Shell, Union, Without
from hermes.phantom.patterns import Bands, Loops
from hermes.phantom.shapes import Ellipsoid, HalfSpace, Number, Shape, Stack, Tube
from hermes.phantom.structure import Body, Structure

SPINE = (  # z, y of the vertebral bodies' centres, their half width and half depth, in mm
    (80, 60, 26, 18),
    (115, 46, 25, 18),
    (160, 39, 25, 18),
    (220, 42, 23, 17),
    (280, 48, 20, 16),
    (340, 54, 17, 15),
    (400, 57, 16, 14),
    (460, 55, 15, 13),
    (520, 45, 14, 11),
    (560, 36, 13, 9),
    (600, 27, 12, 9),
    (640, 22, 12, 9),
    (676, 24, 11, 8),
)
_Z, _Y = np.array(SPINE).T[:2]


def spine_y(z: Number) -> float:
    """Depth (mm, LPS y) of the vertebral bodies' centres at a height."""
    return float(np.interp(z, _Z, _Y))


def canal_y(z: Number) -> float:
    """Depth (mm, LPS y) of the spinal canal's centre at a height."""
    return spine_y(z) + float(np.interp(z, [80, 220, 400, 560, 640], [27, 27, 24, 19, 18]))


@dataclass
class Trunk:
    """Shapes that many structures share."""

    outline: Shape  # skin surface
    muscle: Shape  # surface of the muscles
    thorax: Shape  # inner surface of the chest wall
    dome: Shape  # what lies below the diaphragm
    abdomen: Shape  # abdominal and pelvic cavity


def make_trunk(body: Body, head: Shape) -> Trunk:
    """Build the trunk's shared surfaces; `head` joins the outline."""
    core = Stack(
        [
            (-70, 0, 8, 120, 70),
            (-30, 0, 6, 158, 92),
            (0, 0, 5, 165, 98),
            (60, 0, 4, 154, 98),
            (120, 0, 0, 141, 93),
            (200, 0, 0, 143, 94),
            (280, 0, 0, 150, 97),
            (360, 0, 0, 153, 99),
            (440, 0, 2, 152, 96),
            (500, 0, 8, 160, 86),
            (535, 0, 14, 162, 68),
            (560, 0, 18, 118, 56),
            (585, 0, 20, 62, 50),
            (640, 0, 18, 54, 52),
            (690, 0, 20, 52, 54),
        ],
        power=2.4,
    )
    thigh = Stack(
        [(-420, 84, 4, 68, 70), (-120, 88, 4, 76, 82), (-20, 90, 5, 72, 82), (10, 90, 5, 60, 70)]
    )
    muscle = Shared(Union([core, Paired(thigh)], blend=12))
    outline = Shared(Union([Grown(muscle, body.fat_mm), head], blend=18))
    return Trunk(outline, muscle, Shared(_thorax()), *_below_diaphragm(body))


def _thorax() -> Stack:
    return Stack(
        [
            (215, 0, 0, 128, 80),
            (262, 0, 0, 131, 83),
            (330, 0, 0, 137, 86),
            (400, 0, 0, 134, 84),
            (460, 0, 3, 121, 78),
            (510, 0, 10, 93, 62),
            (545, 0, 19, 58, 42),
            (566, 0, 24, 24, 20),
        ],
        power=2.2,
    )


def _below_diaphragm(body: Body) -> tuple[Shape, Shape]:
    right = Ellipsoid((-66, 0, 222), (86, 101, 132))
    left = Ellipsoid((68, 2, 220), (82, 99, 120))
    middle = Ellipsoid((0, -15, 225), (72, 86, 100))
    dome = Shared(body.vary("diaphragm", Union([right, left, middle], blend=25)))
    cavity = Stack(
        [
            (-48, 0, 10, 30, 30),
            (0, 0, 2, 72, 62),
            (50, 0, -6, 96, 76),
            (100, 0, -11, 116, 78),
            (150, 0, -12, 127, 77),
            (200, 0, -10, 128, 80),
            (280, 0, -6, 133, 82),
            (330, 0, -3, 134, 83),
            (366, 0, -3, 130, 80),
        ],
        power=2.3,
    )
    low = HalfSpace((0, 0, 235), (0, 0, 1))
    return dome, Shared(Common([cavity, Union([dome, low])]))


def soft_tissue(body: Body, trunk: Trunk) -> list[Structure]:
    """Skin, fat, muscle with fat between its bellies, and the cavities' own fat."""
    marbling = Loops(Grown(trunk.muscle, -6), 70, 0.04, phase=1.3)
    abdomen_wall = Grown(trunk.abdomen, 7)
    return [
        Structure((), trunk.outline, "skin"),
        Structure((), Grown(trunk.outline, -3), "fat"),
        Structure((), trunk.muscle, "muscle"),
        Structure((), marbling, "fat"),
        Structure((), abdomen_wall, "muscle"),
    ]


def cavities(trunk: Trunk) -> list[Structure]:
    """Mediastinal and abdominal fat and the diaphragm."""
    return [
        Structure((), trunk.thorax, "inner_fat"),
        Structure((), Common([Grown(trunk.dome, 4), trunk.thorax]), "muscle"),
        Structure((), trunk.abdomen, "inner_fat"),
    ]


def skeleton(trunk: Trunk) -> list[Structure]:
    """Spine, ribs, sternum, shoulder girdle, pelvis and femora."""
    return [*_ribs(trunk), *_shoulder(), *_pelvis(), *_spine(trunk)]


def _bone(shape: Shape, cortex_mm: Number = 3) -> list[Structure]:
    return [
        Structure((), shape, "cortical_bone"),
        Structure((), Grown(shape, -cortex_mm), "spongy_bone"),
    ]


def _ribs(trunk: Trunk) -> list[Structure]:
    wall = Shell(trunk.thorax, inner=-1, outer=9)
    slanted = Bands((0, -0.45, 1), period=27, width=12, offset=6)
    upper = HalfSpace((0, 0, 268), (0, -0.2, -1))
    rings = Common([wall, slanted, upper])
    front = HalfSpace((0, -50, 0), (0, 1, 0))
    sternum = Tube([(0, -93, 345, 11), (0, -87, 430, 17), (0, -67, 505, 20)], 8, flatten=0.4)
    return [
        Structure((), Common([rings, front]), "cartilage"),
        *_bone(Without(rings, [front]), 3.5),
        *_bone(sternum, 2.5),
    ]


def _shoulder() -> list[Structure]:
    scapula = Ellipsoid((98, 76, 478), (40, 6, 62), (0, 8, 24))
    clavicle = Tube([(16, -56, 520, 8), (70, -34, 540, 6), (138, 4, 542, 8)], 6)
    humerus = Ellipsoid((150, 14, 522), (24, 24, 25))
    return [part for shape in (scapula, clavicle, humerus) for part in _bone(Paired(shape))]


def _pelvis() -> list[Structure]:
    wing = Ellipsoid((84, 16, 66), (76, 8, 54), (0, 0, -60), 2.6)
    ischium = Tube([(86, 28, -6, 17), (64, 40, -62, 14)], 2)
    pubis = Tube([(84, -12, -2, 15), (46, -50, -8, 9), (6, -62, -24, 11)], 6)
    ramus = Tube([(62, 36, -62, 10), (36, -10, -58, 7), (8, -54, -36, 7)], 5)
    socket = Ellipsoid((90, 6, 0), (35, 35, 35))
    sacrum = Stack(
        [
            (-34, 0, 90, 8, 5),
            (0, 0, 88, 26, 11),
            (50, 0, 80, 48, 17),
            (84, 0, 64, 54, 21),
            (102, 0, 50, 38, 16),
        ]
    )
    shaft = Tube(
        [
            (92, 5, -2, 14),
            (122, 10, -30, 17),
            (128, 8, -60, 17),
            (116, 2, -160, 14),
            (96, 0, -420, 14),
        ],
        9,
    )
    return [
        *_bone(Paired(Union([wing, ischium, pubis, ramus, socket], blend=8)), 4),
        *_bone(sacrum, 3),
        Structure((), Paired(Ellipsoid((92, 5, -2), (28, 28, 28))), "cartilage"),
        *_bone(Paired(Union([Ellipsoid((92, 5, -2), (25, 25, 25)), shaft], blend=6)), 4.5),
    ]


def _spine(trunk: Trunk) -> list[Structure]:
    bodies = Stack([(z, 0, y, half_x, half_y) for z, y, half_x, half_y in SPINE], power=2.4)
    levels = Bands((0, 0.12, 1), period=30, width=7)
    between = Bands((0, 0.12, 1), period=30, width=18, offset=15)
    arch = Stack([(z, 0, canal_y(z) + 2, 16, 14) for z in _Z])
    spinous = Stack([(z, 0, canal_y(z) + 20, 4, 17) for z in _Z])
    transverse = Stack([(z, 0, canal_y(z) - 6, 44 if 100 < z < 560 else 26, 6) for z in _Z])
    canal = Stack([(z, 0, canal_y(z), 11, 10) for z in _Z])
    cord = Stack([(z, 0, canal_y(z), 8, 7.5) for z in np.linspace(228, 682, 14)])
    return [
        *_bone(Common([Union([spinous, transverse]), between, Grown(trunk.muscle, 2)])),
        *_bone(arch),
        *_bone(bodies),
        Structure((), Common([bodies, levels]), "disc"),
        Structure((), canal, "csf"),
        Structure(("spinal_cord",), cord, "nerve"),
    ]
