"""Convert: headers that say nothing, references that lie the wrong way, odd names, memory."""

import tracemalloc

import fabricate
import nibabel as nib
import numpy as np
import pytest

from hermes.config.registry import load_card
from hermes.convert import ConvertError, evidence
from hermes.convert.case import convert_case
from hermes.convert.evidence import mirrored_fits, misfit
from hermes.convert.find import file_name, find_cases
from hermes.convert.raw import RawFolder
from hermes.convert.sources import sources_of

SOURCE = {
    "pattern": "img/{case}.nii.gz",
    "label": {"format": "nifti", "path": "label/{case}.nii.gz", "geometry": "image"},
}
KNOWN = {"identity_affine": {"spacing_mm": {7: [2.5, 0.8, 0.7]}}}

image, label = fabricate.anatomy()
CENTRED = np.eye(4)
CENTRED[:3, 3] = -(np.array(image.shape[::-1]) - 1) / 2
SILENT = {
    "RAS": np.eye(4),
    "LPS": np.diag([-1.0, -1.0, 1.0, 1.0]),
    "middle at the origin": CENTRED,
    "no affine in the file": None,
}


def convert(folder, affine, case="scan_7", **source):
    """Convert one case whose file has this affine; the array is as in `anatomy` whatever it is."""
    for kind, array in (("img", image), ("label", fabricate.published(label))):
        path = folder / "raw" / kind / f"{case}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.ascontiguousarray(array.T), affine), path)
    card = fabricate.write_card(folder / "toy.yaml", [SOURCE | source])
    return fabricate.convert(folder / "raw", card)


@pytest.mark.parametrize("affine", SILENT.values(), ids=SILENT)
def test_header_that_says_nothing_gets_the_spacing_of_the_card(tmp_path, affine):
    done = convert(tmp_path, affine, **KNOWN)
    row = done.cases["scan_7"]
    assert row["spacing_mm"] == "2.5 0.8 0.7"
    assert row["warnings"] == (
        "identity affine: the spacing of 2.5 0.8 0.7 mm (z y x) is the card's, not the header's, "
        "and its orientation is unproven"
    )
    native = np.array(row["native_affine"].split(), float).reshape(4, 4)
    assert np.allclose(nib.affines.voxel_sizes(native), [0.7, 0.8, 2.5])
    flips = [
        slice(None, None, -1 if axis == "R" or axis == "A" else 1)
        for axis in row["native_axes"].split(",")
    ]
    assert np.array_equal(done.image("scan_7")[tuple(flips[::-1])], image)


def test_header_that_says_nothing_of_a_number_that_the_card_does_not_know(tmp_path):
    convert(tmp_path, fabricate.LPS, case="scan_8", **KNOWN)
    done = convert(tmp_path, np.eye(4), case="scan_9", **KNOWN)
    assert set(done.cases) == {"scan_8"}
    assert "knows no spacing for number 9 (it does for 7)" in done.rejected["scan_9"]


@pytest.mark.parametrize("affine", SILENT.values(), ids=SILENT)
def test_without_a_table_in_the_card_one_millimetre_is_believed_with_a_warning(tmp_path, affine):
    row = convert(tmp_path, affine).cases["scan_7"]
    assert row["spacing_mm"] == "1 1 1"
    assert "spacing of 1 1 1 mm may not be the scan's" in row["warnings"]


def test_one_millimetre_with_an_origin_of_its_own_is_a_header_like_others(tmp_path):
    affine = np.eye(4)
    affine[:3, 3] = 90, -126, -72  # MNI
    row = convert(tmp_path, affine, **KNOWN).cases["scan_7"]
    assert (row["spacing_mm"], row["warnings"]) == ("1 1 1", "")


def test_mended_header_is_believed_before_the_card(tmp_path):
    row = convert(tmp_path, fabricate.LPS, **KNOWN).cases["scan_7"]
    assert (row["spacing_mm"], row["warnings"]) == ("3 1.5 2", "")


@pytest.mark.parametrize("voxels", [8e6, 2000])
@pytest.mark.parametrize("axis", range(3))
def test_reference_that_lies_mirrored_is_found_by_its_grey_values(monkeypatch, axis, voxels):
    """Also where a large volume is thinned in its planes."""
    monkeypatch.setattr(evidence, "ENOUGH_VOXELS", voxels)
    grey, classes = (np.kron(array, np.ones((2, 2, 2), array.dtype)) for array in (image, label))
    assert mirrored_fits(grey, classes) == []
    told = mirrored_fits(grey, np.flip(classes, axis))
    assert f"fits the image better with {evidence.EXCHANGED[axis]} exchanged" in told[0]


def test_reference_that_fits_nowhere_is_not_called_mirrored():
    noise = np.random.default_rng(0).integers(0, 100, image.shape).astype(np.int16)
    assert mirrored_fits(noise, label) == []
    assert mirrored_fits(image, np.zeros_like(label)) == []


def test_misfit_is_none_inside_of_even_structures_and_one_in_an_even_place():
    flat = np.where(label, 100 * label, 7).astype(np.int16)
    assert misfit(flat, label) == 0
    assert misfit(np.full_like(flat, 7), label) == 1


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("img0001", "img0001"),
        ("PET-CT  nativ (u. KM)", "PET-CT__nativ__u._KM_"),
        ("ä/b\\c:d*e?f\"g<h>i|j'k;l&m\n", "__b_c_d_e_f_g_h_i_j_k_l_m_"),
        ("v1.2_a+b-c", "v1.2_a+b-c"),
    ],
)
def test_names_are_safe_for_files(text, name):
    assert file_name(text) == name


def test_names_that_differ_in_odd_characters_only_are_an_error(tmp_path):
    raw = tmp_path / "raw"
    for case in ("a b", "a&b"):
        fabricate.save_nifti(raw / "img" / f"{case}.nii.gz", image)
    card = fabricate.write_card(tmp_path / "toy.yaml", [SOURCE | {"label": {"format": "none"}}])
    with pytest.raises(ConvertError, match="both give the case 'a_b'"):
        fabricate.convert(raw, card)


def test_map_in_per_cent_is_no_probability(tmp_path):
    raw = tmp_path / "raw"
    maps = {"format": "probability", "maps": {6: "map/{case}.nii.gz"}}
    for case, top in (("per_cent", 100), ("bytes", 255)):
        fabricate.save_nifti(raw / "img" / f"{case}.nii.gz", image)
        share = np.float32(top) * (label == 1)
        fabricate.save_nifti(raw / "map" / f"{case}.nii.gz", share)
    done = fabricate.convert(
        raw, fabricate.write_card(tmp_path / "toy.yaml", [SOURCE | {"label": maps}])
    )
    assert "values from 0 to 100 are no probabilities" in done.rejected["per_cent"]
    assert np.array_equal(done.label("bytes") == 1, label == 1)


@pytest.mark.parametrize("kind", [np.int16, np.float32, np.float64])
def test_memory_is_that_of_two_copies_of_the_image(tmp_path, kind):
    """With a reference of one byte a voxel, in another orientation than the canonical one."""
    raw, size = tmp_path / "raw", (96, 128, 128)
    noise = np.random.default_rng(0).normal(0, 300, size)
    stored = np.rint(noise).astype(kind) if kind is np.int16 else noise.astype(kind)
    drawn = np.zeros(size, np.uint8)
    drawn[20:60, 30:90, 40:100] = 6
    for folder, array in (("img", stored), ("label", drawn)):
        fabricate.save_nifti(raw / folder / "a.nii.gz", array, np.diag([1.0, 1.0, 2.0, 1.0]))
    card = load_card(
        fabricate.write_card(tmp_path / "toy.yaml", [SOURCE], sides={"liver": "right"})
    )
    folder = RawFolder.read(raw, fabricate.write_manifest(raw))
    (case,) = find_cases(card, folder)
    tracemalloc.start()
    try:
        row = convert_case(case, card, sources_of(case, folder), tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert row["size"] == "96 128 128"
    voxel_bytes = min(stored.itemsize, 4)  # double precision goes as it is read
    assert peak < 2.6 * stored.size * voxel_bytes + 3e6
