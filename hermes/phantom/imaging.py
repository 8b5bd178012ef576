"""Scanners: which grey value each tissue gets, and what the machine does to the picture."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import gaussian_filter

from hermes.phantom.shapes import Number
from hermes.phantom.tissues import TISSUES, Tissue

Contrast = Callable[[Tissue], float]


@dataclass(frozen=True)
class Scan:
    """One acquisition, drawn: a contrast per channel and the faults of the machine."""

    contrast: Contrast
    noise: Number  # standard deviation, in the image's unit
    rician: bool = False  # magnitude images: noise is of two components
    blur: Number = 0.45  # point spread, standard deviation in voxels
    bias: Number = 0.0  # depth of the slow shading, as a share
    texture: Number = 0.0  # standard deviation of a blotchy gain, as a share
    gains: dict[str, float] = field(default_factory=dict)  # individual factor per tissue

    def value(self, tissue: str) -> float:
        """Grey value of a tissue."""
        return self.contrast(TISSUES[tissue]) * self.gains.get(tissue, 1.0)


def ct(arterial: Number, portal: Number) -> Contrast:
    """CT numbers in HU; the two phases of the contrast agent as shares of their full gain."""
    return lambda t: float(t.hu + arterial * t.arterial + portal * t.portal)


def spin_echo(
    tr: Number, te: Number, fat: Number = 1.0, ti: Number = 0.0, agent: Number = 0.0
) -> Contrast:
    """Signal of a spin echo, times in ms, scaled so that free water is about 1000.

    M (1 - 2 exp(-TI/T1) [if inverted] - exp(-TR/T1)...) exp(-TE/T2), fat kept by the share `fat`;
    `agent` shortens T1 where blood goes (1/T1 + agent * blood share).
    """

    def signal(t: Tissue) -> float:
        rate = 1 / t.t1 + agent * t.portal / 1000 / 125
        recovered = 1 - np.exp(-tr * rate)
        if ti:
            recovered = abs(1 - 2 * np.exp(-ti * rate) + np.exp(-tr * rate))
        kept = 1 - t.fat * (1 - fat)
        return 1000 * t.protons * recovered * float(np.exp(-te / t.t2)) * kept

    return signal


def gradient_echo(tr: Number, te: Number, angle: Number, in_phase: bool = True) -> Contrast:
    """Signal of a spoiled gradient echo; out of phase, the fat's share is subtracted.

    M sin a (1 - E1) / (1 - E1 cos a) exp(-TE/T2*), with T2* = T2 / 2 (ASSUME). Out of phase the
    value keeps its sign, so that water and fat cancel where they share a voxel.
    """
    a = np.radians(angle)

    def signal(t: Tissue) -> float:
        e1 = np.exp(-tr / t.t1)
        steady = np.sin(a) * (1 - e1) / (1 - e1 * np.cos(a))
        phase = 1.0 if in_phase else 1 - 2 * t.fat
        return 1000 * t.protons * float(steady * np.exp(-2 * te / t.t2)) * phase

    return signal


def balanced(angle: Number) -> Contrast:
    """Signal of balanced steady-state precession: M sin a / (1 + cos a + (1 - cos a) T1/T2)."""
    a = np.radians(angle)

    def signal(t: Tissue) -> float:
        ratio = t.t1 / t.t2
        return 1000 * t.protons * float(np.sin(a) / (1 + np.cos(a) + (1 - np.cos(a)) * ratio))

    return signal


def uptake() -> Contrast:
    """Standardised uptake value of FDG."""
    return lambda t: t.suv


def mri(contrast: Contrast, draw: np.random.Generator, noise: Number, bias: Number = 0.25) -> Scan:
    """A magnitude MR image with shading; noise in the contrast's units (free water about 1000)."""
    return Scan(
        contrast,
        noise * draw.uniform(0.8, 1.25),
        rician=True,
        bias=bias,
        texture=0.04,
        gains=_individual(draw, 0.05),
    )


def tomography(
    draw: np.random.Generator, arterial: Number, portal: Number, noise: Number = 6
) -> Scan:
    """A CT image: HU, gaussian noise, the strength of the contrast agent drawn by +-15 %."""
    strength = draw.uniform(0.85, 1.15)
    return Scan(
        ct(arterial * strength, portal * strength),
        noise * draw.uniform(0.8, 1.3),
        texture=0.006,
        gains=_individual(draw, 0.02),
    )


def emission(draw: np.random.Generator) -> Scan:
    """A PET image in SUV: coarse point spread, blotchy noise, uptake that differs a lot."""
    return Scan(uptake(), noise=0.12, blur=0.75, texture=0.10, gains=_individual(draw, 0.18))


def _individual(draw: np.random.Generator, spread: Number) -> dict[str, float]:
    return {name: float(np.exp(draw.normal(0, spread))) for name in TISSUES}


def scan(clean: np.ndarray, machine: Scan, draw: np.random.Generator) -> np.ndarray:
    """Turn painted grey values into an image: texture, point spread, shading, noise.

    Args:
        clean: (z, y, x) float32.
        machine: what to do.
        draw: random numbers.

    Returns:
        (z, y, x) float32 in the same unit.
    """
    image = clean
    if machine.texture:
        image = image + _blotches(image.shape, draw) * np.float32(machine.texture) * _pivot(image)
    image = gaussian_filter(image, machine.blur, truncate=3.0)
    if machine.bias:
        image = image * _shading(image.shape, machine.bias, draw)
    noise = draw.standard_normal(image.shape, dtype=np.float32) * np.float32(machine.noise)
    if not machine.rician:
        return image + noise
    other = draw.standard_normal(image.shape, dtype=np.float32) * np.float32(machine.noise)
    return np.sqrt((image + noise) ** 2 + other**2)


def _pivot(image: np.ndarray) -> np.ndarray:
    """What a share of texture refers to: the grey value above the darkest (air)."""
    return image - image.min()


def _blotches(shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    rough = gaussian_filter(draw.standard_normal(shape, dtype=np.float32), 1.0, truncate=2.0)
    return rough / max(float(rough.std()), 1e-6)


def _shading(shape: tuple[int, ...], depth: Number, draw: np.random.Generator) -> np.ndarray:
    """A smooth gain around 1: a few slow cosines along each axis, their product."""
    gain = np.ones(shape, np.float32)
    for axis, length in enumerate(shape):
        along = np.linspace(0, 1, length, dtype=np.float32)
        wave = 1 + depth / 3 * np.cos(np.pi * draw.uniform(0.5, 1.8) * along + draw.uniform(0, 6.3))
        gain *= wave.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    return gain
