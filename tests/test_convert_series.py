"""Convert: DICOM series, PNG stacks, contours, probability maps and frames of 4D files."""

import csv

import fabricate
import nibabel as nib
import numpy as np
import pytest

RANGES = {6: [55, 70], 1: [240, 255]}
GREY = np.array([0, 63, 252])
LPS_LIKE_SERIES = np.diag([-2.0, -1.5, 3.0, 1.0])


def chaos_card(tmp_path):
    images = [
        {
            "pattern": f"MR/{{patient}}/T1DUAL/DICOM_anon/{phase}",
            "format": "dicom",
            "case": f"mr_{{patient}}_{phase}",
            "patient": "mr_{patient}",
            "label": {"format": "png", "path": "MR/{patient}/T1DUAL/Ground", "ranges": RANGES},
        }
        for phase in ("InPhase", "OutPhase")
    ]
    return fabricate.write_card(tmp_path / "toy.yaml", images)


@pytest.mark.parametrize("upwards", [True, False])
def test_phases_that_share_a_series_identifier_and_unpadded_names(tmp_path, upwards):
    """Files are numbered 1..n without padding, from the feet or from the head."""
    image, label = fabricate.anatomy((12, 10, 12))
    folder = tmp_path / "raw" / "MR" / "3" / "T1DUAL"
    numbers = [k + 1 if upwards else len(image) - k for k in range(len(image))]
    for phase, offset in (("InPhase", 0), ("OutPhase", 7)):
        names = [f"IMG-4-{n}.dcm" for n in numbers]
        fabricate.save_series(folder / "DICOM_anon" / phase, image + offset, names)
    for k, n in enumerate(numbers):
        fabricate.save_png(folder / "Ground" / f"IMG-4-{n}.png", GREY[label[k]])
    done = fabricate.convert(tmp_path / "raw", chaos_card(tmp_path))
    assert list(done.cases) == ["mr_3_InPhase", "mr_3_OutPhase"]
    for case, offset in zip(done.cases, (0, 7), strict=True):
        assert np.array_equal(done.image(case), image + offset)
        assert np.array_equal(done.label(case), label)
        assert np.allclose(done.affine(case), LPS_LIKE_SERIES)
        assert done.cases[case]["patient"] == "mr_3"
        assert done.cases[case]["warnings"] == ""
    assert done.cases["mr_3_InPhase"]["source"] == "MR/3/T1DUAL/DICOM_anon/InPhase"


def test_names_that_disagree_with_instance_numbers_are_used_with_a_warning(tmp_path):
    image, label = fabricate.anatomy((8, 10, 12))
    folder = tmp_path / "raw" / "MR" / "1" / "T1DUAL"
    for k in range(8):
        stored = image[k].astype(np.int32) + 1024
        path = folder / "DICOM_anon" / "InPhase" / f"s{k}.dcm"
        fabricate.save_slice(path, stored, (0, 0, 3.0 * k), instance=(5 * k) % 8)
        fabricate.save_png(folder / "Ground" / f"s{k}.png", GREY[label[k]])
    done = fabricate.convert(tmp_path / "raw", chaos_card(tmp_path))
    assert np.array_equal(done.label("mr_1_InPhase"), label)
    assert "instance numbers" in done.cases["mr_1_InPhase"]["warnings"]


def rtstruct_card(tmp_path, contours):
    label = {"format": "rtstruct", "path": "{case}", "contours": contours}
    return fabricate.write_card(
        tmp_path / "toy.yaml", [{"pattern": "{case}", "format": "dicom", "label": label}]
    )


def circle(radius_mm, centre, z, points=90):
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    x, y = centre[0] + radius_mm * np.cos(angle), centre[1] + radius_mm * np.sin(angle)
    return np.stack([x, y, np.full(points, z)], axis=1)


def test_contours_of_a_box_with_a_hole_and_of_a_sphere(tmp_path):
    """Grid 20 x 40 x 30 (z, y, x) at 3 x 1.5 x 2 mm; the sphere overlaps the box."""
    raw = tmp_path / "raw"
    image = np.random.default_rng(0).integers(0, 99, (20, 40, 30))
    fabricate.save_series(raw / "p1", image, [f"s{k:02d}.dcm" for k in range(20)])
    # voxel centres 5..9 in x (10..18 mm), 8..15 in y (12..22.5 mm), slices 2..6
    corners = np.array([[9, 11.3], [19, 11.3], [19, 23.2], [9, 23.2]])
    hole = np.array([[13, 14.3], [15, 14.3], [15, 17.2], [13, 17.2]])
    box = [
        np.column_stack([ring, np.full(4, 3.0 * k + 1.2)])
        for k in range(2, 7)
        for ring in (corners, hole)
    ]
    radius, centre = 14.0, np.array([40.0, 40.0, 33.0])
    heights = 3.0 * np.arange(20)
    inside = heights[np.abs(heights - centre[2]) < radius]
    sphere = [circle(np.sqrt(radius**2 - (z - centre[2]) ** 2), centre, z) for z in inside]
    fabricate.save_structure_set(raw / "p1" / "rs.dcm", {"Box": box, "Ball": sphere, "None": []})
    done = fabricate.convert(raw, rtstruct_card(tmp_path, {6: "Box", 1: "Ball"}))
    label = done.label("p1")
    expected = np.zeros(label.shape, bool)
    expected[2:7, 8:16, 5:10] = True
    expected[2:7, 10:12, 7] = False
    assert np.array_equal(label == 1, expected)
    volume_mm3 = np.count_nonzero(label == 2) * 3 * 1.5 * 2
    assert volume_mm3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.02)
    z, y, x = np.argwhere(label == 2).mean(axis=0) * (3, 1.5, 2)
    assert np.allclose((x, y, z), centre, atol=0.2)


def test_contours_outside_of_the_image_warn_and_tilted_ones_reject(tmp_path):
    raw = tmp_path / "raw"
    image, _ = fabricate.anatomy()
    for case in ("high", "tilted"):
        fabricate.save_series(raw / case, image, [f"s{k}.dcm" for k in range(8)])
    ring = circle(4, (10, 7), 6.0)
    fabricate.save_structure_set(
        raw / "high" / "rs.dcm", {"GTV": [ring, ring + np.array([0, 0, 60])]}
    )
    ring[:, 2] += ring[:, 0]
    fabricate.save_structure_set(raw / "tilted" / "rs.dcm", {"GTV": [ring]})
    done = fabricate.convert(raw, rtstruct_card(tmp_path, {6: "GTV"}))
    assert done.cases["high"]["warnings"] == "1 contours of 'GTV' lie outside of the image"
    assert "runs through several slices" in done.rejected["tilted"]


@pytest.mark.parametrize("scale", [1, 255])
def test_probability_maps_become_their_argmax(tmp_path, scale):
    """Shares 0..1 as floats, or 0..255 as bytes."""
    raw = tmp_path / "raw"
    image, _ = fabricate.anatomy((4, 4, 4))
    liver, spleen = np.zeros((2, 4, 4, 4))
    liver[0, 0] = [0.6, 0.3, 0.3, 0.2]
    spleen[0, 0] = [0.2, 0.6, 0.3, 0.2]
    maps = {6: "{case}_liver.nii", 1: "{case}_spleen.nii"}
    label = {"format": "probability", "maps": maps}
    card = fabricate.write_card(
        tmp_path / "toy.yaml", [{"pattern": "{case}_img.nii", "label": label}]
    )
    fabricate.save_nifti(raw / "a_img.nii", image)
    for name, share in (("liver", liver), ("spleen", spleen)):
        stored = share.astype(np.float32) if scale == 1 else np.rint(share * 255).astype(np.uint8)
        fabricate.save_nifti(raw / f"a_{name}.nii", stored)
    found = fabricate.convert(raw, card).label("a")
    assert found[0, 0].tolist() == [1, 2, 0, 0]  # 0.3, 0.3 against 0.4 of background
    assert not found[1:].any()


def test_frames_of_a_cine_image_with_crooked_directions(tmp_path):
    raw = tmp_path / "raw"
    image, label = fabricate.anatomy()
    frames = np.stack([image + 100 * t for t in range(4)])
    labels = np.stack([np.roll(fabricate.published(label), t, axis=1) for t in range(4)])
    crooked = fabricate.LPS.copy()
    crooked[1, 0] = 0.02  # the first two directions are 0.6 degrees off the right angle
    for name, array in (("sa", frames), ("sa_gt", labels)):
        fabricate.save_nifti(raw / "Testing" / "A1" / f"A1_{name}.nii.gz", array, crooked)
    with open(raw / "table.csv", "w", newline="", encoding="utf-8-sig") as handle:
        csv.writer(handle).writerows([["Code", "ED", "ES"], ["A1", "0", "2.0"]])
    frames_of = {"table": "table.csv", "case_column": "Code", "columns": {"ED": "ED", "ES": "ES"}}
    source = {
        "pattern": "Testing/{case}/{case}_sa.nii.gz",
        "frames": frames_of,
        "label": {"format": "nifti", "path": "Testing/{case}/{case}_sa_gt.nii.gz"},
    }
    card = fabricate.write_card(tmp_path / "toy.yaml", [source], modality="cine")
    done = fabricate.convert(raw, card)
    assert list(done.cases) == ["A1_ED", "A1_ES"]
    for case, t in (("A1_ED", 0), ("A1_ES", 2)):
        assert done.cases[case]["patient"] == "A1"
        assert np.array_equal(done.image(case), frames[t])
        assert np.array_equal(done.label(case), np.roll(label, t, axis=1))
        directions = done.affine(case)[:3, :3] / nib.affines.voxel_sizes(done.affine(case))
        assert np.allclose(directions.T @ directions, np.eye(3), atol=1e-6)
        assert "off the right angle" in done.cases[case]["warnings"]
