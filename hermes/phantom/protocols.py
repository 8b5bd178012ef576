"""The thirteen protocols as data: labels, field of view, spacing, orientation, machine, disease.

Label values are the published ones, written down here a second time on purpose: a card that
disagrees with its dataset is then found by the phantom's own round trip.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hermes.phantom import machines
from hermes.phantom.imaging import Scan
from hermes.phantom.patient import Disease
from hermes.phantom.shapes import Number

HEALTHY = Disease()
Machine = Callable[[np.random.Generator], Scan]


@dataclass(frozen=True)
class Protocol:
    """How one dataset images its patients.

    Attributes:
        labels: structure -> published value.
        spacing_mm: published median, in-plane and between slices.
        field_mm: width (left-right) and depth (front-back) of the field of view.
        reach_mm: lowest and highest slice in body coordinates.
        orientations: axis codes of the stored array (index x, y, z grow towards them), in turn.
        machine: draws the acquisition.
        disease: how often patients have what.
        oblique: share of the images whose axes are tilted.
        patients: how many the published dataset has.
    """

    labels: dict[str, int]
    spacing_mm: tuple[Number, Number]
    field_mm: tuple[Number, Number]
    reach_mm: tuple[Number, Number]
    orientations: tuple[str, ...]
    machine: Machine
    patients: int
    disease: Disease = HEALTHY
    oblique: Number = 0


def _numbered(names: str) -> dict[str, int]:
    return {name: value for value, name in enumerate(names.split(), start=1)}


_BCV = _numbered(
    "spleen right_kidney left_kidney gallbladder esophagus liver stomach aorta inferior_vena_cava "
    "portal_and_splenic_vein pancreas right_adrenal_gland left_adrenal_gland"
)
_AMOS = _numbered(
    "spleen right_kidney left_kidney gallbladder esophagus liver stomach aorta inferior_vena_cava "
    "pancreas right_adrenal_gland left_adrenal_gland duodenum bladder prostate_or_uterus"
)
_HEAD = _numbered(
    "brain_stem left_eye right_eye left_lens right_lens left_optic_nerve right_optic_nerve "
    "optic_chiasm left_temporal_lobe right_temporal_lobe pituitary left_parotid right_parotid "
    "left_inner_ear right_inner_ear left_middle_ear right_middle_ear left_tmj right_tmj "
    "spinal_cord left_mandible right_mandible"
)


_TRUNK = (375.0, 285.0)
PROTOCOLS: dict[str, Protocol] = {
    "bcv": Protocol(
        _BCV,
        (0.76, 3.0),
        _TRUNK,
        (90, 370),
        ("LAS", "LPS"),
        machines.portal,
        30,
        Disease(no_gallbladder=0.12, no_right_kidney=0.08, liver_tumor=0.1),
        oblique=0.1,
    ),
    "ss_t": Protocol(
        _numbered("left_lung right_lung heart esophagus trachea spinal_cord"),
        (1.17, 5.0),
        (405, 285),
        (270, 590),
        ("LPS",),
        machines.native_chest,
        50,
    ),
    "ss_h": Protocol(
        _HEAD,
        (1.14, 3.0),
        (260, 260),
        (592, 802),
        ("LPS",),
        machines.head_ct,
        50,
    ),
    "lits": Protocol(
        {"liver": 1, "liver_tumor": 2},
        (0.77, 1.0),
        _TRUNK,
        (90, 380),
        ("RAS", "LPS", "LAS"),
        machines.portal,
        131,
        Disease(liver_tumor=0.9, no_gallbladder=0.1),
        oblique=0.05,
    ),
    "kits": Protocol(
        {"kidney": 1, "kidney_tumor": 2},
        (0.78, 3.0),
        _TRUNK,
        (80, 370),
        ("IPL",),
        machines.late_arterial,
        210,
        Disease(kidney_tumor=1.0, liver_tumor=0.05),
    ),
    "amos_ct": Protocol(
        _AMOS,
        (0.69, 5.0),
        _TRUNK,
        (-50, 370),
        ("LPS", "RAS"),
        machines.any_phase,
        300,
        Disease(liver_tumor=0.2, kidney_tumor=0.1, pancreas_tumor=0.1, no_gallbladder=0.1),
        oblique=0.1,
    ),
    "amos_mr": Protocol(
        _AMOS,
        (1.19, 2.0),
        (380, 300),
        (140, 370),
        ("LPS", "RAS", "PIR"),
        machines.unknown_mr,
        60,
        Disease(liver_tumor=0.2, no_gallbladder=0.1),
        oblique=0.3,
    ),
    "chaos": Protocol(
        {"liver": 63, "right_kidney": 126, "left_kidney": 189, "spleen": 252},
        (1.68, 9.0),
        (430, 340),
        (120, 380),
        ("LPS", "LPI"),
        machines.unknown_mr,
        20,
    ),
    "mnms": Protocol(
        {"left_ventricle": 1, "myocardium": 2, "right_ventricle": 3},
        (1.25, 10.0),
        (240, 240),
        (0, 0),
        ("LPS",),
        machines.cine,
        320,
    ),
    "autopet": Protocol(
        {"lesion": 1},
        (2.04, 3.0),
        (400, 330),
        (-170, 825),
        ("LPS", "LAS"),
        machines.pet,
        900,
    ),
    "dlbs": Protocol(
        {"gray_matter": 1, "white_matter": 2, "csf": 3},
        (1.0, 1.0),
        (192, 192),
        (640, 832),
        ("RAS",),
        machines.t1_brain,
        215,
    ),
    "segthor": Protocol(
        _numbered("esophagus heart trachea aorta"),
        (0.98, 2.5),
        (405, 285),
        (285, 590),
        ("RAS", "LPS"),
        machines.mixed_chest,
        40,
    ),
    "msd_pancreas": Protocol(
        {"pancreas": 1, "pancreas_tumor": 2},
        (0.80, 2.5),
        _TRUNK,
        (130, 370),
        ("RAS",),
        machines.portal,
        281,
        Disease(pancreas_tumor=1.0, liver_tumor=0.1, no_gallbladder=0.15),
    ),
}
