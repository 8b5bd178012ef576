"""Convert: orientation, values, sides and names, on fabricated raw trees."""

import hashlib

import fabricate
import numpy as np
import pytest

from hermes.config.registry import RegistryError, load_card
from hermes.convert import ConvertError
from hermes.files.nifti import read_nifti
from hermes.files.volume import reorient_like

NIFTI = [
    {
        "pattern": "img/{case}.nii.gz",
        "label": {"format": "nifti", "path": "label/{case}.nii.gz"},
    }
]


def add_case(raw, name, image, label, affine=fabricate.LPS):
    fabricate.save_nifti(raw / "img" / f"{name}.nii.gz", image, affine)
    fabricate.save_nifti(raw / "label" / f"{name}.nii.gz", fabricate.published(label), affine)


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "raw"


@pytest.fixture
def card(tmp_path):
    return fabricate.write_card(tmp_path / "toy.yaml", NIFTI)


@pytest.mark.parametrize("axes", ["LPS", "RAS", "ASR", "PIR", "ILA", "SAL"])
def test_every_orientation_gives_the_same_canonical_case(raw, card, axes):
    image, label = fabricate.anatomy()
    moved, affine = fabricate.in_orientation(image, axes)
    moved_label, _ = fabricate.in_orientation(label, axes)
    add_case(raw, "a", moved, moved_label, affine)
    done = fabricate.convert(raw, card)
    assert np.array_equal(done.image("a"), image)
    assert np.array_equal(done.label("a"), label)
    assert np.allclose(done.affine("a"), fabricate.LPS)
    row = done.cases["a"]
    assert row["native_axes"] == ",".join(axes)
    assert row["native_size"].split() == [str(n) for n in moved.shape[::-1]]
    assert np.allclose(np.array(row["native_affine"].split(), float).reshape(4, 4), affine)
    assert row["spacing_mm"] == "3 1.5 2"
    assert row["size"] == "8 10 12"
    assert row["structures"] == "liver,spleen"
    assert row["image_sha256"] == hashlib.sha256(image.tobytes()).hexdigest()
    assert row["label_sha256"] == hashlib.sha256(label.tobytes()).hexdigest()


def test_oblique_grid_is_reordered_and_never_resampled(raw, card):
    image, label = fabricate.anatomy()
    angle = np.deg2rad(12)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    moved, affine = fabricate.in_orientation(image, "PIR")
    moved_label, _ = fabricate.in_orientation(label, "PIR")
    add_case(raw, "a", moved, moved_label, tilt @ affine)
    done = fabricate.convert(raw, card)
    assert np.array_equal(done.image("a"), image)
    assert np.array_equal(np.bincount(done.label("a").ravel()), np.bincount(label.ravel()))
    assert np.allclose(done.affine("a"), tilt @ fabricate.LPS, atol=1e-5)
    native = np.array(done.cases["a"]["native_affine"].split(), float).reshape(4, 4)
    size = [int(n) for n in done.cases["a"]["native_size"].split()]
    back = reorient_like(read_nifti(done.out / "a.nii.gz"), native, size)
    assert np.array_equal(back.array, moved)


def test_label_stored_in_another_orientation_than_its_image(raw, card):
    image, label = fabricate.anatomy()
    turned, affine = fabricate.in_orientation(fabricate.published(label), "RAS")
    fabricate.save_nifti(raw / "img" / "a.nii.gz", image)
    fabricate.save_nifti(raw / "label" / "a.nii.gz", turned, affine)
    assert np.array_equal(fabricate.convert(raw, card).label("a"), label)


def test_geometry_of_the_image_is_taken_where_the_card_says_so(raw, tmp_path):
    label_source = {"format": "nifti", "path": "label/{case}.nii.gz", "geometry": "image"}
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI[0] | {"label": label_source}])
    image, label = fabricate.anatomy()
    moved, affine = fabricate.in_orientation(image, "ASR")
    moved_label, _ = fabricate.in_orientation(fabricate.published(label), "ASR")
    fabricate.save_nifti(raw / "img" / "a.nii.gz", moved, affine)
    fabricate.save_nifti(raw / "label" / "a.nii.gz", moved_label, np.eye(4))
    done = fabricate.convert(raw, card)
    assert np.array_equal(done.label("a"), label)


@pytest.mark.parametrize(
    ("scale", "dtype"), [(1.0, np.int16), (0.5, np.float32), (100.0, np.float32)]
)
def test_images_are_int16_only_where_that_loses_nothing(raw, card, scale, dtype):
    image, label = fabricate.anatomy()
    add_case(raw, "a", image.astype(np.float64) * scale, label)
    found = fabricate.convert(raw, card).image("a")
    assert found.dtype == dtype
    assert np.allclose(found, image * scale)


def test_names_numbers_and_subsets(raw, tmp_path):
    images = [
        {
            "pattern": f"{folder}/v3_img_{{number}}.nii.gz",
            "case": "v3_img_{number}",
            "patient": "p{number}",
            "subset": subset,
            "numbers": [1, 499],
            "label": {"format": "none", "path": ""},
        }
        for folder, subset in (("tr", "train"), ("va", "test"))
    ]
    card = fabricate.write_card(tmp_path / "toy.yaml", images)
    image, _ = fabricate.anatomy()
    for path in ("tr/v3_img_10", "tr/v3_img_2", "va/v3_img_003", "tr/v3_img_500"):
        fabricate.save_nifti(raw / f"{path}.nii.gz", image)
    done = fabricate.convert(raw, card, workers=2)
    assert list(done.cases) == ["v3_img_2", "v3_img_003", "v3_img_10"]
    assert [row["subset"] for row in done.cases.values()] == ["train", "test", "train"]
    assert done.cases["v3_img_003"]["patient"] == "p003"
    assert done.cases["v3_img_003"]["source"] == "va/v3_img_003.nii.gz"
    assert done.cases["v3_img_003"]["label_sha256"] == ""
    assert not list(done.out.glob("*_label.nii.gz"))
    assert not done.rejected


def test_slabs_share_the_scan_and_keep_its_geometry(raw, tmp_path):
    label_source = {"format": "nifti", "path": "label/{case}.nii.gz"}
    images = [
        {"pattern": "img/{case}.nii.gz", "case": f"{{case}}_{k}", "slab": slab}
        | {"label": label_source}
        for k, slab in enumerate([[0, 0.4], [0.4, 1]])
    ]
    card = fabricate.write_card(tmp_path / "toy.yaml", images)
    image, label = fabricate.anatomy()
    moved, affine = fabricate.in_orientation(image, "RIA")
    moved_label, _ = fabricate.in_orientation(label, "RIA")
    add_case(raw, "a", moved, moved_label, affine)
    done = fabricate.convert(raw, card)
    lower, upper = done.image("a_0"), done.image("a_1")
    assert len(lower) == 3
    assert np.array_equal(np.concatenate([lower, upper]), image)
    assert np.array_equal(np.concatenate([done.label("a_0"), done.label("a_1")]), label)
    assert np.allclose(done.affine("a_1")[:3, 3], fabricate.LPS[:3, 3] + [0, 0, 9])
    row = done.cases["a_1"]
    assert (row["native_axes"], row["native_size"]) == ("R,I,A", "12 5 10")
    native = np.array(row["native_affine"].split(), float).reshape(4, 4)
    assert np.allclose(native[:3, :3], affine[:3, :3])
    # index 0 of the native second axis is the topmost slice, which only the upper slab holds
    assert np.allclose(native[:3, 3], affine[:3, 3])


def test_structure_on_the_wrong_side_is_converted_with_a_warning(raw, tmp_path, caplog):
    card = fabricate.write_card(
        tmp_path / "toy.yaml", NIFTI, sides={"liver": "right", "spleen": "left"}
    )
    image, label = fabricate.anatomy()
    add_case(raw, "good", image, label)
    add_case(raw, "mirrored", image, label[:, :, ::-1])
    done = fabricate.convert(raw, card)
    assert done.cases["good"]["warnings"] == ""
    warnings = done.cases["mirrored"]["warnings"]
    assert "liver lies on the patient's left" in warnings
    assert "spleen lies on the patient's right" in warnings
    assert any("mirrored" in r.message and "liver" in r.message for r in caplog.records)


def test_ignored_and_unlisted_values_become_background(raw, tmp_path):
    card = fabricate.write_card(
        tmp_path / "toy.yaml", NIFTI, ignored_values=[9], unlisted_values="background"
    )
    image, label = fabricate.anatomy()
    values = fabricate.published(label)
    values[0, 0, :2] = 9, 77
    fabricate.save_nifti(raw / "img" / "a.nii.gz", image)
    fabricate.save_nifti(raw / "label" / "a.nii.gz", values)
    assert np.array_equal(fabricate.convert(raw, card).label("a"), label)


def test_two_images_with_one_name_are_an_error_naming_both(raw, tmp_path):
    images = [
        {"pattern": f"{folder}/{{case}}.nii.gz", "label": {"format": "none", "path": ""}}
        for folder in ("one", "two")
    ]
    card = fabricate.write_card(tmp_path / "toy.yaml", images)
    image, _ = fabricate.anatomy()
    for folder in ("one", "two"):
        fabricate.save_nifti(raw / folder / "a.nii.gz", image)
    with pytest.raises(ConvertError, match=r"one/a\.nii\.gz and two/a\.nii\.gz both give .*'a'"):
        fabricate.convert(raw, card)
    images[1]["copy_of"] = images[0]["pattern"]
    done = fabricate.convert(raw, fabricate.write_card(card, images))
    assert done.cases["a"]["source"] == "two/a.nii.gz"
    assert done.cases["a"]["warnings"] == "also there as one/a.nii.gz: equal voxels"


def test_a_copy_allows_no_second_file_of_its_own_entry(raw, tmp_path):
    none = {"format": "none"}
    images = [
        {"pattern": "one/{case}.nii.gz", "label": none},
        {"pattern": "{n}/b_{case}.nii.gz", "copy_of": "one/{case}.nii.gz", "label": none},
    ]
    card = fabricate.write_card(tmp_path / "toy.yaml", images)
    for path in ("one/a", "x/b_a", "y/b_a"):
        fabricate.save_nifti(raw / f"{path}.nii.gz", fabricate.anatomy()[0])
    with pytest.raises(ConvertError, match=r"x/b_a\.nii\.gz and y/b_a\.nii\.gz both give .*'a'"):
        fabricate.convert(raw, card)


@pytest.mark.parametrize("copy_of", ["two/{case}.nii.gz", "three/{case}.nii.gz"])
def test_a_copy_of_no_other_entry_is_refused(tmp_path, copy_of):
    images = [
        {"pattern": "one/{case}.nii.gz", "label": {"format": "none"}},
        {"pattern": "two/{case}.nii.gz", "copy_of": copy_of, "label": {"format": "none"}},
    ]
    with pytest.raises(RegistryError, match=r"copy_of: no other entry has the pattern t"):
        load_card(fabricate.write_card(tmp_path / "toy.yaml", images))


def test_no_case_is_an_error_naming_folder_and_patterns(raw, card):
    raw.mkdir()
    (raw / "readme.txt").write_text("elsewhere")
    with pytest.raises(ConvertError, match=r"raw: no case of 'toy'(.|\n)*img/\{case\}\.nii\.gz"):
        fabricate.convert(raw, card)


def test_unchanged_cases_are_passed_over_and_changed_ones_are_not(raw, card):
    image, label = fabricate.anatomy()
    add_case(raw, "a", image, label)
    add_case(raw, "b", image, label)
    first = fabricate.convert(raw, card)
    times = {name: (first.out / f"{name}.nii.gz").stat().st_mtime_ns for name in "ab"}
    add_case(raw, "b", image + 1, label)
    second = fabricate.convert(raw, card)
    assert (second.out / "a.nii.gz").stat().st_mtime_ns == times["a"]
    assert np.array_equal(second.image("b"), image + 1)
    assert second.cases["a"] == first.cases["a"]
    assert second.cases["b"]["image_sha256"] != first.cases["b"]["image_sha256"]


def test_case_whose_source_is_gone_leaves_nothing_behind(raw, card):
    image, label = fabricate.anatomy()
    add_case(raw, "a", image, label)
    add_case(raw, "b", image, label)
    fabricate.convert(raw, card)
    (raw / "img" / "b.nii.gz").unlink()
    done = fabricate.convert(raw, card)
    assert {path.name for path in done.out.glob("*.nii.gz")} == {"a.nii.gz", "a_label.nii.gz"}
