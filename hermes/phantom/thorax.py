"""Lungs, airways, esophagus, heart and great vessels."""

import numpy as np

from hermes.phantom.combine import Common, Grown, Shared, Union, Without
from hermes.phantom.shapes import Ellipsoid, HalfSpace, Number, Shape, Stack, Tube
from hermes.phantom.structure import Body, Structure
from hermes.phantom.trunk import Trunk

HEART = np.array([32.0, -32.0, 388.0])
"""Centre of the left ventricle in body coordinates, mm."""


def heart_axes() -> np.ndarray:
    """Columns: to the septum's right side, across, and from base to apex (unit vectors, LPS)."""
    apex = np.array([0.60, -0.56, -0.57])
    apex /= np.linalg.norm(apex)
    right = np.array([-0.78, -0.58, -0.26])
    right -= apex * (right @ apex)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(apex, right), apex], axis=1)


def _in_heart(right: Number, across: Number, apex: Number) -> tuple[float, float, float]:
    x, y, z = HEART + heart_axes() @ np.array([right, across, apex])
    return x, y, z


def heart(body: Body) -> list[Structure]:
    """Both ventricles, the myocardium, the atria; the heart shrinks as it contracts."""
    axes, squeeze = heart_axes(), 1 - 0.28 * body.contraction
    base = HalfSpace(_in_heart(0, 0, -24 + 8 * body.contraction), tuple(-axes[:, 2]))
    grip = 1 - 0.06 * body.contraction
    outer = Common([Ellipsoid(_in_heart(0, 0, 0), (34 * grip, 34 * grip, 54 * grip), axes), base])
    cavity = Ellipsoid(
        _in_heart(0, 0, -4), (23 * squeeze, 23 * squeeze, 44 * (1 - 0.16 * body.contraction)), axes
    )
    lung_side = 1 - 0.2 * body.contraction
    right = Ellipsoid(_in_heart(34, 0, -8), (32 * lung_side, 41 * lung_side, 50), axes, 2.3)
    right = Common([right, base])
    atrium_left = Ellipsoid((6, 2, 416), (36, 21, 25), (0, 0, -8))
    atrium_right = Ellipsoid((-34, -14, 394), (25, 31, 34))
    whole = Shared(
        Union([outer, Grown(right, 4), Grown(atrium_left, 2), Grown(atrium_right, 2)], 14)
    )
    blood = "blood"
    return [
        Structure((), Grown(whole, 5), "inner_fat"),
        Structure(("heart",), whole, "heart_muscle"),
        Structure(("heart",), atrium_right, "venous_blood"),
        Structure(("heart",), atrium_left, blood),
        Structure(("right_ventricle", "heart"), right, "venous_blood"),
        Structure(("myocardium", "heart"), outer, "heart_muscle"),
        Structure(("left_ventricle", "heart"), Common([cavity, base]), blood),
    ]


def _mediastinum() -> Stack:
    return Stack(
        [
            (262, 5, 20, 34, 70),
            (330, 5, 18, 32, 74),
            (400, 3, 5, 30, 88),
            (450, 2, -4, 32, 82),
            (490, 0, -2, 30, 74),
            (530, 0, 10, 36, 58),
            (568, 0, 20, 44, 50),
        ],
        power=2.4,
    )


def lungs(body: Body, trunk: Trunk, heart_shape: Shape) -> list[Structure]:
    """Both lungs and the larger vessels in them."""
    middle = Union([_mediastinum(), Grown(heart_shape, 4)], blend=8)
    space = Shared(Without(Grown(trunk.thorax, -1), [middle, Grown(trunk.dome, 5)]))
    structures = []
    for side, sign in (("left", 1), ("right", -1)):
        half = HalfSpace((0, 0, 0), (-sign, 0, 0))
        names = (f"{side}_lung",)
        structures.append(Structure(names, Common([space, half]), "lung"))
        structures += [
            Structure(names, Common([branch, space, half]), "venous_blood")
            for branch in _branches(sign)
        ]
    return structures


def _branches(sign: int) -> list[Tube]:
    ends = [
        (84, -44, 476),
        (92, 44, 482),
        (112, 4, 402),
        (88, 58, 352),
        (84, -52, 404),
        (52, 18, 532),
        (108, 36, 426),
        (64, 64, 430),
    ]
    hilum = (30, 14, 436)
    tubes = []
    for end in ends:
        middle = [0.5 * (a + b) for a, b in zip(hilum, end, strict=True)]
        knots = [(*hilum, 6), (*middle, 4), (*end, 1.2)]
        tubes.append(Tube([(sign * x, y, z, r) for x, y, z, r in knots], 3))
    return tubes


def great_vessels(body: Body) -> list[Structure]:
    """Aorta, pulmonary arteries, the upper vena cava and the vessels of the neck."""
    aorta = Tube(
        [
            (8, -22, 412, 14),
            (-4, -30, 440, 14.5),
            (-4, -26, 468, 14),
            (8, -6, 488, 13),
            (22, 20, 480, 12.5),
            (27, 34, 450, 12),
            (25, 36, 400, 11.5),
            (18, 32, 340, 11),
            (9, 24, 280, 10.5),
            (5, 16, 220, 10),
            (4, 14, 160, 9.5),
            (4, 20, 118, 9),
        ],
        28,
    )
    iliac = [
        (4, 20, 118, 7),
        (26, 26, 84, 6),
        (48, 16, 40, 6),
        (66, -36, 2, 5.5),
        (70, -44, -60, 5),
    ]
    iliacs = [Tube([(s * x, y, z, r) for x, y, z, r in iliac], 8) for s in (1, -1)]
    lung_artery = Union(
        [
            Tube([(2, -52, 420, 14), (8, -34, 448, 13), (34, 6, 452, 10)], 5),
            Tube([(6, -28, 446, 11), (-14, -6, 444, 10), (-42, 8, 438, 8)], 5),
        ]
    )
    upper_cava = Tube(
        [(-30, -14, 404, 10), (-26, -18, 460, 10), (-24, -16, 500, 9), (-30, 0, 548, 6)], 6
    )
    neck = [
        Tube([(2, -10, 494, 6), (24, -2, 545, 5), (30, 8, 600, 4.5), (32, 14, 670, 4)], 8),
        Tube([(-4, -20, 490, 6), (-24, -4, 545, 5), (-30, 8, 600, 4.5), (-32, 14, 670, 4)], 8),
    ]
    jugular = [
        Tube([(s * 26, -8, 540, 7), (s * 38, 4, 600, 6.5), (s * 40, 18, 672, 5)], 6)
        for s in (1, -1)
    ]
    return [
        *[Structure((), tube, "blood") for tube in (*neck, *iliacs)],
        *[Structure((), tube, "venous_blood") for tube in (upper_cava, *jugular)],
        Structure((), lung_artery, "venous_blood"),
        Structure(("aorta",), body.vary("aorta", aorta), "blood"),
    ]


def airways(body: Body) -> list[Structure]:
    """Trachea with the main bronchi, and the esophagus (wider than life, ASSUME)."""
    windpipe = Union(
        [
            Tube([(0, -2, 606, 9), (0, 4, 560, 9), (-1, 8, 520, 9.5), (-1, 12, 466, 10)], 8),
            Tube([(2, 12, 468, 8.5), (40, 14, 440, 6)], 1),
            Tube([(-3, 12, 468, 8.5), (-34, 14, 444, 6.5)], 1),
        ]
    )
    gullet = Tube(
        [
            (2, 14, 606, 7.8),
            (4, 22, 560, 8.8),
            (4, 28, 500, 9.3),
            (5, 30, 460, 9.8),
            (6, 30, 410, 9.8),
            (12, 20, 360, 9.8),
            (20, 10, 330, 10.3),
            (30, 6, 312, 9.8),
        ],
        16,
    )
    return [
        Structure((), Grown(windpipe, 2.5), "cartilage"),
        Structure(("trachea",), windpipe, "airway"),
        Structure(("esophagus",), body.vary("esophagus", gullet), "esophagus"),
    ]
