"""Organs of the abdomen, painted so that each nestles against the ones before."""

from hermes.phantom.combine import Common, Grown, Shared, Union, Without
from hermes.phantom.patterns import Wavy
from hermes.phantom.pelvis import back_muscles, bowel, pelvic_organs
from hermes.phantom.shapes import Ellipsoid, HalfSpace, Shape, Tube
from hermes.phantom.structure import Body, Structure
from hermes.phantom.trunk import Trunk


def abdomen(body: Body, trunk: Trunk) -> list[Structure]:
    """All abdominal and pelvic structures in painting order."""
    inner = Grown(trunk.abdomen, -1.5)
    return [
        *back_muscles(),
        *bowel(inner),
        *pelvic_organs(body, inner),
        *_liver(body, inner),
        *_spleen(body, inner),
        *_kidneys(body),
        *_stomach(body, inner),
        *_duodenum(body),
        *_veins_and_pancreas(body),
        *_adrenals(body),
        *_gallbladder(body),
    ]


def liver_shape(body: Body, inner: Shape) -> Shape:
    """The liver: two lobes under the diaphragm, cut off below along a line that rises leftwards."""
    lobes = Union(
        [
            Ellipsoid((-80, 4, 270), (68, 91, 102)),
            Ellipsoid((-30, -28, 300), (62, 58, 50)),
            Ellipsoid((28, -50, 306), (56, 34, 36)),
        ],
        blend=26,
    )
    below = HalfSpace((-130, 0, 166), (0.48, -0.16, -0.85))
    hilum = Ellipsoid((-24, -2, 250), (38, 20, 26), (0, 30, 0))
    whole = Common([body.vary("liver", lobes), below], blend=24)
    return Common([Without(whole, [hilum]), inner])


def _liver(body: Body, inner: Shape) -> list[Structure]:
    liver = Shared(liver_shape(body, inner))
    vessels = Union(
        [
            Tube([(-24, 6, 338, 6), (-62, 14, 320, 5), (-100, 20, 290, 3)], 4),
            Tube([(-22, 2, 338, 5), (-44, -30, 326, 4), (-60, -56, 300, 2.5)], 4),
            Tube([(-44, -6, 278, 7), (-78, 0, 276, 5), (-112, -10, 262, 3)], 4),
            Tube([(-44, -6, 278, 6), (-22, -40, 294, 4.5), (20, -54, 304, 3)], 4),
        ]
    )
    return [
        Structure(("liver",), liver, "liver"),
        Structure(("liver",), Common([vessels, Grown(liver, -2)]), "venous_blood"),
    ]


def _spleen(body: Body, inner: Shape) -> list[Structure]:
    spleen = body.vary("spleen", Ellipsoid((104, 36, 290), (30, 52, 58), (-24, 0, -12)))
    return [Structure(("spleen",), Common([spleen, inner]), "spleen")]


def kidney_shape(body: Body, side: str) -> Shape:
    """One kidney, its upper pole nearer to the spine than its lower one."""
    sign, height = (1, 252) if side == "left" else (-1, 238)
    bean = Ellipsoid((sign * 62, 40, height), (28, 27, 56), (-8, sign * 10, 0), 2.2)
    return Shared(body.vary(f"{side}_kidney", bean))


def _kidneys(body: Body) -> list[Structure]:
    structures = []
    for side, sign in (("left", 1), ("right", -1)):
        name = f"{side}_kidney"
        if name in body.missing:
            continue
        whole, names = kidney_shape(body, side), (name, "kidney")
        height = 252 if side == "left" else 238
        sinus = Ellipsoid((sign * 44, 34, height - 2), (17, 11, 22), (0, sign * 10, sign * 20))
        pelvis = Tube(
            [(sign * 50, 34, height, 5), (sign * 34, 28, height - 16, 5), (sign * 34, 26, 190, 3)],
            4,
        )
        structures += [
            Structure(names, whole, "kidney_cortex"),
            Structure(names, Wavy(Grown(whole, -9), 3, 24), "kidney_medulla"),
            Structure((), sinus, "inner_fat"),
            Structure((), pelvis, "urine"),
        ]
    return structures


def _stomach(body: Body, inner: Shape) -> list[Structure]:
    whole = Tube(
        [
            (62, 22, 322, 30),
            (72, 2, 300, 34),
            (70, -26, 268, 31),
            (52, -46, 240, 26),
            (18, -52, 226, 21),
            (-12, -44, 232, 15),
            (-24, -34, 238, 11),
        ],
        14,
    )
    whole = Shared(Common([body.vary("stomach", whole), inner]))
    bubble = Common([Grown(whole, -6), HalfSpace((0, -34, 0), (0, 1, 0.15))])
    return [
        Structure(("stomach",), whole, "stomach_wall"),
        Structure(("stomach",), Wavy(Grown(whole, -8), 2.5, 26), "stomach_content"),
        Structure(("stomach",), bubble, "airway"),
    ]


def _duodenum(body: Body) -> list[Structure]:
    knots = [
        (-26, -32, 238, 12),
        (-42, -14, 240, 13),
        (-48, 4, 218, 13.5),
        (-44, 10, 190, 13),
        (-22, 4, 172, 12.5),
        (14, -2, 172, 12),
        (36, -6, 192, 12),
    ]
    whole = body.vary("duodenum", Tube(knots, 13))
    return [
        Structure(("duodenum",), whole, "bowel_wall"),
        Structure(("duodenum",), Wavy(Grown(whole, -6), 2, 20), "bowel_content"),
    ]


def pancreas_shape(body: Body) -> Shape:
    """The pancreas: head in the duodenum's loop, body over the aorta, tail at the spleen."""
    knots = [
        (-24, -4, 206, 15),
        (-20, -10, 226, 17),
        (-2, -22, 242, 12),
        (24, -22, 254, 13),
        (54, -2, 264, 13),
        (80, 20, 276, 11),
    ]
    return Shared(Wavy(body.vary("pancreas", Tube(knots, 11)), 1.5, 22))


def _veins_and_pancreas(body: Body) -> list[Structure]:
    cava = Tube(
        [
            (-16, 22, 112, 11),
            (-20, 18, 170, 11.5),
            (-22, 16, 230, 12),
            (-24, 14, 290, 13),
            (-24, 6, 340, 13),
            (-26, -6, 376, 12),
        ],
        14,
    )
    legs = [
        (-14, 24, 116, 8),
        (28, 34, 84, 7),
        (52, 22, 40, 7),
        (72, -30, 2, 6.5),
        (76, -40, -60, 6),
    ]
    other = [
        (-18, 24, 116, 8),
        (-34, 34, 84, 7),
        (-54, 22, 40, 7),
        (-72, -30, 2, 6.5),
        (-76, -40, -60, 6),
    ]
    portal = Tube(
        [
            (-46, -6, 282, 8.8),
            (-26, -6, 262, 9.3),
            (-8, -8, 246, 9.8),
            (22, -6, 254, 8.8),
            (52, 12, 268, 8.3),
            (84, 30, 288, 7.8),
        ],
        11,
    )
    mesenteric = Tube([(-8, -10, 244, 7), (-6, -16, 200, 6.5), (0, -24, 150, 5)], 4)
    artery = Tube([(5, 10, 236, 5), (4, -8, 212, 5), (4, -18, 150, 4)], 5)
    renal = Union(
        [
            Tube([(-20, 18, 246, 6), (-46, 30, 244, 5)], 1),
            Tube([(-18, 6, 250, 6), (10, 4, 252, 5), (44, 28, 254, 5)], 5),
        ]
    )
    return [
        *[Structure((), t, "venous_blood") for t in (renal, Tube(legs, 8), Tube(other, 8))],
        Structure(("inferior_vena_cava",), body.vary("inferior_vena_cava", cava), "venous_blood"),
        Structure(("pancreas",), pancreas_shape(body), "pancreas"),
        Structure((), mesenteric, "venous_blood"),
        Structure((), artery, "blood"),
        Structure(
            ("portal_and_splenic_vein",),
            body.vary("portal_and_splenic_vein", portal),
            "venous_blood",
        ),
    ]


def _adrenals(body: Body) -> list[Structure]:
    structures = []
    for side, sign, x, y, z in (("left", 1, 40, 22, 300), ("right", -1, -36, 26, 296)):
        gland = Union(
            [
                Tube([(x, y - 4, z + 4, 7.4), (x + sign * 8, y + 24, z - 7, 6.5)], 1),
                Tube([(x, y - 4, z + 4, 7.4), (x - sign * 10, y + 20, z - 2, 6.5)], 1),
                Tube([(x, y - 4, z + 6, 7.4), (x + sign * 2, y - 2, z - 23, 6.5)], 1),
            ],
            blend=3,
        )
        name = f"{side}_adrenal_gland"
        structures.append(Structure((name,), body.vary(name, gland), "adrenal"))
    return structures


def _gallbladder(body: Body) -> list[Structure]:
    if "gallbladder" in body.missing:
        return []
    pear = Tube([(-54, -62, 208, 17), (-48, -46, 228, 15), (-40, -26, 248, 8)], 5)
    pear = body.vary("gallbladder", pear)
    return [
        Structure((), Grown(pear, 2), "bowel_wall"),
        Structure(("gallbladder",), pear, "bile"),
    ]
