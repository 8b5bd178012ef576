"""One patient: a body with its own size, shape and disease, drawn from seeds."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hermes.phantom.abdomen import kidney_shape, pancreas_shape
from hermes.phantom.anatomy import anatomy, shape_of
from hermes.phantom.combine import Common, Grown, Moved, Union
from hermes.phantom.patterns import Wavy
from hermes.phantom.render import Warp
from hermes.phantom.shapes import Ellipsoid, Number, Points, Shape, Vector
from hermes.phantom.structure import Body, Structure
from hermes.phantom.trunk import spine_y


def generator(seed: int, dataset: str, patient: int, purpose: str) -> np.random.Generator:
    """A random generator for one purpose of one patient; what else is drawn does not move it."""
    key = (zlib.crc32(dataset.encode()), patient, zlib.crc32(purpose.encode()))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


@dataclass(frozen=True)
class Disease:
    """How often a dataset's patients have what, as probabilities."""

    liver_tumor: Number = 0
    kidney_tumor: Number = 0
    pancreas_tumor: Number = 0
    lesion: Number = 0
    no_gallbladder: Number = 0
    no_right_kidney: Number = 0


@dataclass
class Patient:
    """A body and how it lies in the world."""

    body: Body
    structures: list[Structure]
    warp: Warp


def make_patient(
    seed: int, dataset: str, number: int, disease: Disease, lesions: bool | None = None
) -> Patient:
    """Draw a patient.

    Args:
        seed: of the study.
        dataset: its name; part of every seed.
        number: of the patient, from 0.
        disease: probabilities of what the patient has.
        lesions: whether there are PET lesions; None: drawn.
    """

    def draws(purpose: str) -> np.random.Generator:
        return generator(seed, dataset, number, purpose)

    fate = draws("disease").random(6)
    body = make_body(draws, _missing(disease, fate))
    structures = anatomy(body)
    if fate[0] < disease.liver_tumor:
        _add_tumors(structures, "liver", _liver_tumors(structures, draws("liver tumor")))
    if fate[1] < disease.kidney_tumor:
        _add_kidney_tumor(structures, body, draws("kidney tumor"))
    if fate[2] < disease.pancreas_tumor:
        _add_tumors(structures, "pancreas", _pancreas_tumor(body, draws("pancreas tumor")))
    if lesions if lesions is not None else fate[3] < disease.lesion:
        structures += _lesions(draws("lesions"))
    return Patient(body, structures, _warp(draws))


def at_phase(patient: Patient, contraction: Number) -> Patient:
    """The same patient with the heart contracted: 0 end of diastole, 1 end of systole."""
    body = replace(patient.body, contraction=contraction)
    return Patient(body, anatomy(body), patient.warp)


def _missing(disease: Disease, fate: np.ndarray) -> frozenset[str]:
    missing = {
        "gallbladder": fate[4] < disease.no_gallbladder,
        "right_kidney": fate[5] < disease.no_right_kidney,
    }
    return frozenset(name for name, gone in missing.items() if gone)


def make_body(
    draws: Callable[[str], np.random.Generator], missing: frozenset[str] = frozenset()
) -> Body:
    """Draw size, sex and the place of every organ; `draws` gives a generator per purpose."""
    habitus = draws("habitus")

    def vary(name: str, shape: Shape) -> Shape:
        own = draws(f"place of {name}")
        low, high = shape.bounds
        size = np.cbrt(np.prod(high - low))
        shift = own.normal(0, min(3.5, 0.05 * size), 3)
        scale = float(np.clip(own.normal(1, 0.05), 0.88, 1.12))
        return Moved(shape, 0.5 * (low + high), scale, shift)

    return Body(
        fat_mm=float(np.clip(habitus.gamma(5, 3.6), 7, 38)),
        sex="f" if habitus.random() < 0.5 else "m",
        missing=missing,
        vary=vary,
    )


def _warp(draws: Callable[[str], np.random.Generator]) -> Warp:
    field, pose = draws("deformation"), draws("pose")
    modes = 7
    directions = field.normal(size=(modes, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = field.uniform(110, 320, modes)
    size = 0.011 * lengths[:, None]  # ASSUME: longer waves move more; slopes stay below 0.2
    return Warp(
        scale=np.clip(pose.normal(1, [0.05, 0.05, 0.04]), 0.88, 1.12),
        shift=pose.normal(0, 5, 3),
        amplitudes=field.normal(size=(modes, 3)) * size,
        waves=directions * (2 * np.pi / lengths)[:, None],
        phases=field.uniform(0, 2 * np.pi, modes),
    )


def blob(centre: Vector, radius: Number, draw: np.random.Generator) -> Shape:
    """A lumpy ball: an ellipsoid of random axes with an uneven surface. Radius in mm."""
    radii = radius * draw.uniform(0.8, 1.25, 3)
    turn = draw.uniform(-90, 90, 3)
    ball = Ellipsoid(tuple(centre), tuple(radii), tuple(turn))
    return Wavy(ball, 0.12 * radius, 2.2 * radius, draw.uniform(0, 6))


def place_inside(shape: Shape, depth_mm: Number, draw: np.random.Generator) -> np.ndarray:
    """A random point inside a shape, at least `depth_mm` deep, or the deepest of 4000 tried."""
    low, high = shape.bounds
    tried = draw.uniform(low, high, (4000, 3)).astype(np.float32)
    x, y, z = (tried[:, None, None, axis] for axis in range(3))
    depth = shape(Points(x, y, z)).ravel()
    deep = np.flatnonzero(depth < -depth_mm)
    return tried[deep[0]] if len(deep) else tried[int(np.argmin(depth))]


def _add_tumors(structures: list[Structure], organ: str, tumors: list[Structure]) -> None:
    """Insert tumours right after the last part of their organ: what covers it covers them."""
    last = max(k for k, s in enumerate(structures) if organ in s.names)
    structures[last + 1 : last + 1] = tumors


def _liver_tumors(structures: list[Structure], draw: np.random.Generator) -> list[Structure]:
    liver = shape_of(structures, "liver")
    tumors = []
    for _ in range(int(draw.integers(1, 4))):
        radius = draw.uniform(12, 24)
        shape = blob(place_inside(liver, 0.7 * radius, draw), radius, draw)
        tumors.append(
            Structure(("liver_tumor", "liver"), Common([shape, Grown(liver, -1)]), "liver_tumor")
        )
    return tumors


def _add_kidney_tumor(structures: list[Structure], body: Body, draw: np.random.Generator) -> None:
    side = "left" if "right_kidney" in body.missing or draw.random() < 0.5 else "right"
    kidney = kidney_shape(body, side)
    radius = draw.uniform(15, 25)
    # ASSUME: half of the tumour bulges out of the kidney, never into the spine
    centre = place_inside(kidney, 5, draw)
    centre[0] += (6 if side == "left" else -6) * draw.random()
    names = ("kidney_tumor", f"{side}_kidney", "kidney")
    _add_tumors(
        structures, f"{side}_kidney", [Structure(names, blob(centre, radius, draw), "kidney_tumor")]
    )


def _pancreas_tumor(body: Body, draw: np.random.Generator) -> list[Structure]:
    pancreas = pancreas_shape(body)
    radius = draw.uniform(12, 18)
    shape = blob(place_inside(pancreas, 7, draw), radius, draw)
    shape = Common([shape, Grown(pancreas, 7)])
    return [Structure(("pancreas_tumor", "pancreas"), shape, "pancreas_tumor")]


def _lesions(draw: np.random.Generator) -> list[Structure]:
    """Two to six foci where lymphoma, melanoma and lung cancer are found."""
    height = float(draw.uniform(110, 520))
    sites = [
        (
            draw.uniform(50, 95) * draw.choice([-1, 1]),
            draw.uniform(-20, 40),
            draw.uniform(380, 480),
        ),
        (draw.uniform(-20, 30), draw.uniform(-10, 30), draw.uniform(420, 480)),
        (
            draw.uniform(105, 140) * draw.choice([-1, 1]),
            draw.uniform(0, 30),
            draw.uniform(470, 520),
        ),
        (draw.uniform(-100, -50), draw.uniform(-30, 40), draw.uniform(250, 310)),
        (draw.uniform(-20, 20), draw.uniform(-5, 15), draw.uniform(120, 260)),
        (draw.uniform(40, 80) * draw.choice([-1, 1]), draw.uniform(-40, 10), draw.uniform(-40, 60)),
        (0.0, spine_y(height), height),
        (draw.uniform(30, 50) * draw.choice([-1, 1]), draw.uniform(0, 30), draw.uniform(590, 650)),
    ]
    count = int(draw.integers(2, 7))
    structures = []
    for site in draw.permutation(len(sites))[:count]:
        centre, radius = sites[site], draw.uniform(13, 26)
        parts = [blob(centre, radius, draw)]
        if draw.random() < 0.4:
            parts.append(blob(np.asarray(centre) + draw.normal(0, radius, 3), 0.7 * radius, draw))
        structures.append(Structure(("lesion",), Union(parts, blend=4), "lesion"))
    return structures
