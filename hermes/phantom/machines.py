"""The scanners of the thirteen protocols; each draws one acquisition."""

import numpy as np

from hermes.phantom.imaging import (
    Scan,
    balanced,
    emission,
    gradient_echo,
    mri,
    spin_echo,
    tomography,
)


def portal(draw: np.random.Generator) -> Scan:
    """CT in the portal venous phase."""
    return tomography(draw, arterial=0.25, portal=1.0)


def late_arterial(draw: np.random.Generator) -> Scan:
    """CT in the late arterial phase."""
    return tomography(draw, arterial=0.6, portal=0.45)


def any_phase(draw: np.random.Generator) -> Scan:
    """CT in a phase that differs from patient to patient."""
    arterial, portal = [(0.1, 1.0), (0.6, 0.4), (0.05, 0.75), (0.0, 0.15)][
        draw.choice(4, p=[0.5, 0.2, 0.2, 0.1])
    ]
    return tomography(draw, arterial, portal)


def native_chest(draw: np.random.Generator) -> Scan:
    """CT of the chest with little contrast agent."""
    return tomography(draw, arterial=0.05, portal=0.35, noise=8)


def mixed_chest(draw: np.random.Generator) -> Scan:
    """CT of the chest with more or less contrast agent."""
    return tomography(draw, arterial=draw.uniform(0, 0.35), portal=draw.uniform(0.1, 0.7), noise=8)


def head_ct(draw: np.random.Generator) -> Scan:
    """CT of the head: thicker slices, less noise."""
    return tomography(draw, arterial=0.1, portal=0.5, noise=4)


def unknown_mr(draw: np.random.Generator) -> Scan:
    """One of six sequences with its own timing: nobody wrote down which."""
    sequences = (
        gradient_echo(draw.uniform(120, 200), 2.2, draw.uniform(60, 80)),
        gradient_echo(draw.uniform(120, 200), 3.6, draw.uniform(60, 80), in_phase=False),
        spin_echo(draw.uniform(3, 6) * 100, 8, fat=0.1, agent=draw.uniform(2, 5)),
        spin_echo(draw.uniform(25, 45) * 100, draw.uniform(70, 100)),
        spin_echo(draw.uniform(30, 50) * 100, draw.uniform(70, 90), fat=0.12),
        balanced(draw.uniform(50, 70)),
    )
    return mri(sequences[int(draw.integers(len(sequences)))], draw, noise=9)


def cine(draw: np.random.Generator) -> Scan:
    """Steady-state cine; ASSUME: inflowing blood is a third brighter than at rest."""
    machine = mri(balanced(draw.uniform(50, 65)), draw, noise=11, bias=0.3)
    for blood in ("blood", "venous_blood"):
        machine.gains[blood] *= 1.35
    return machine


def t1_brain(draw: np.random.Generator) -> Scan:
    """T1 of the brain."""
    contrast = gradient_echo(draw.uniform(20, 26), 3.0, draw.uniform(22, 28))
    return mri(contrast, draw, noise=3, bias=0.2)


def in_phase(draw: np.random.Generator) -> Scan:
    """T1 in phase."""
    return mri(gradient_echo(160, 2.3, 75), draw, noise=9)


def out_of_phase(draw: np.random.Generator) -> Scan:
    """T1 out of phase: fat subtracts from water."""
    return mri(gradient_echo(160, 1.15, 75, in_phase=False), draw, noise=9)


def t2_fat_suppressed(draw: np.random.Generator) -> Scan:
    """T2 with spectral fat suppression."""
    return mri(spin_echo(draw.uniform(1800, 2400), draw.uniform(65, 80), fat=0.15), draw, noise=9)


def pet(draw: np.random.Generator) -> Scan:
    """FDG-PET in SUV."""
    return emission(draw)
