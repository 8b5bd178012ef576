"""Metrics on shapes whose scores can be written down."""

import doctest
import math

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from hermes.evaluate import metrics
from hermes.evaluate.metrics import (
    dice_from_label_maps,
    dice_per_class,
    false_positive_volume_ml,
    hd95,
    nsd,
    surface_distances,
    surface_scores,
)

UNIT = (1.0, 1.0, 1.0)


def cube(shape, corner, side):
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(c, c + side) for c in corner)] = 1
    return mask


def ball(size, radius):
    z, y, x = np.ogrid[:size, :size, :size]
    z, y, x = z - size // 2, y - size // 2, x - size // 2
    return z * z + y * y + x * x <= radius * radius


def test_dice_of_cubes_shifted_by_a_quarter_is_three_quarters():
    label = np.zeros((20, 20, 20), np.uint8)
    label[4:12, 4:12, 4:12] = 1
    label[14:18, 14:18, 14:18] = 2
    masks = np.stack([np.roll(label == 1, 2, 0), np.roll(label == 2, 2, 2), label == 2])
    np.testing.assert_allclose(dice_per_class(masks, label), [0.75, 0.5, np.nan])
    np.testing.assert_array_equal(
        dice_per_class(masks.astype(np.uint8), label), dice_per_class(masks, label)
    )


def test_dice_follows_the_empty_mask_convention():
    label = np.array([[[0, 1, 2, 0]]], np.uint8)
    masks = np.array([[[[0, 0, 0, 0]]], [[[0, 0, 1, 0]]], [[[1, 0, 0, 0]]], [[[0, 0, 0, 0]]]], bool)
    np.testing.assert_array_equal(dice_per_class(masks, label), [0, 1, np.nan, np.nan])


@pytest.mark.parametrize("classes", [3, 22, 255])
def test_both_dice_equal_boolean_masks_over_several_chunks(classes):
    rng = np.random.default_rng(classes)
    prediction, label = rng.integers(0, classes + 1, (2, 31, 67, 43), dtype=np.uint8)
    label[label == 2] = 0
    assert label.size > metrics.CHUNK
    masks = np.stack([prediction == k for k in range(1, classes + 1)])
    expected = [
        2 * np.sum(mask & (label == k)) / (mask.sum() + np.sum(label == k)) if k != 2 else np.nan
        for k, mask in enumerate(masks, start=1)
    ]
    np.testing.assert_allclose(dice_from_label_maps(prediction, label, classes), expected)
    np.testing.assert_allclose(dice_per_class(masks, label), expected)


def test_dice_of_overlapping_masks_counts_each_by_itself():
    label = np.array([1, 1, 2, 2, 0], np.uint8)
    masks = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 0]], np.uint8)
    np.testing.assert_allclose(dice_per_class(masks, label), [2 / 3, 2 / 3])


def test_dice_refuses_values_beyond_the_classes_and_unlike_grids():
    label = np.array([0, 3], np.uint8)
    with pytest.raises(ValueError, match="label has the value 3"):
        dice_per_class(np.zeros((2, 2), np.uint8), label)
    with pytest.raises(ValueError, match="prediction has the value 3"):
        dice_from_label_maps(label, np.zeros_like(label), 2)
    with pytest.raises((ValueError, TypeCheckError)):
        dice_per_class(np.zeros((3, 5), np.uint8), label)


def test_a_parallel_shift_is_measured_in_millimetres_along_its_axis():
    shape, spacing = (30, 30, 30), (5.0, 0.7, 1.1)
    reference = cube(shape, (8, 8, 8), 10)
    for axis, step in enumerate(spacing):
        shifted = np.roll(reference, 1, axis)
        assert hd95(shifted, reference, spacing) == pytest.approx(step)
        assert nsd(shifted, reference, spacing, step + 1e-6) == 1
        # of 10^3 - 8^3 voxels, the walls of 36 a layer coincide in 9 layers and the faces nowhere
        assert nsd(shifted, reference, spacing, 0.1) == pytest.approx(9 * 36 / 488)


def test_nested_balls_are_their_radii_apart():
    outer, inner = ball(61, 25), ball(61, 15)
    distances = surface_distances(inner, outer, (2.0, 2.0, 2.0))
    # voxel surfaces lie up to one voxel inside the sphere
    assert np.allclose(np.concatenate(distances), 20, atol=2.5)
    scores = surface_scores(inner, outer, (2.0, 2.0, 2.0), tolerance_mm=17.0)
    assert scores.nsd == 0 and scores.hd95 == pytest.approx(20, abs=1.5)
    assert nsd(inner, outer, (2.0, 2.0, 2.0), 23.0) == 1


def test_hd95_forgives_a_twentieth_of_the_surface_and_no_more():
    reference = cube((40, 40, 40), (2, 2, 2), 5)  # 98 surface voxels
    few, many = reference.copy(), reference.copy()
    few[30, 30, 10:34:6] = 1  # 4 of 102
    many[30, 30, 10:34:3] = 1  # 8 of 106
    assert hd95(few, reference, UNIT) == 0
    assert hd95(many, reference, UNIT) > 30
    assert hd95(reference, many, UNIT) == hd95(many, reference, UNIT)
    assert nsd(few, reference, UNIT, 1.0) == pytest.approx((98 + 98) / (98 + 102))


def test_surface_voxels_are_those_with_an_open_face_the_border_included():
    full = np.ones((5, 5, 5), bool)
    distances = surface_distances(full, cube((5, 5, 5), (2, 2, 2), 1), UNIT)
    assert len(distances.from_prediction) == 125 - 27
    assert distances.from_reference.tolist() == [2.0]
    hollow = full.copy()
    hollow[2, 2, 2] = False  # a cavity has a surface: its 6 neighbours by face
    assert len(surface_distances(hollow, full, UNIT).from_prediction) == 98 + 6


def test_surface_scores_follow_the_empty_mask_convention():
    empty, some, spacing = np.zeros((3, 4, 5), bool), cube((3, 4, 5), (1, 1, 1), 2), (4.0, 3.0, 2.0)
    assert all(map(math.isnan, surface_scores(some, empty, spacing, 1.0)))
    assert all(map(math.isnan, surface_scores(empty, empty, spacing, 1.0)))
    diagonal = math.sqrt(12**2 + 12**2 + 10**2)
    assert surface_scores(empty, some, spacing, 1.0) == (0.0, pytest.approx(diagonal))


def test_tree_and_distance_transform_agree(monkeypatch):
    rng = np.random.default_rng(0)
    noise, reference = rng.random((24, 30, 20)) < 0.1, ball(30, 6)[3:27, :, 5:25]
    spacing = (3.0, 1.0, 2.0)
    by_tree = surface_distances(noise, reference, spacing)
    monkeypatch.setattr(metrics, "MANY_POINTS", 0)
    monkeypatch.setattr(metrics, "BOX_PER_POINT", 10**9)
    monkeypatch.setattr(metrics, "cKDTree", None)  # so that only the transform can answer
    for one, other in zip(by_tree, surface_distances(noise, reference, spacing), strict=True):
        np.testing.assert_allclose(one, other)


def test_false_positives_are_whole_components_off_the_reference():
    shape, spacing = (20, 20, 20), (2.0, 5.0, 10.0)  # 0.1 ml a voxel
    reference = cube(shape, (2, 2, 2), 4)
    touching, apart = cube(shape, (5, 5, 5), 4), cube(shape, (12, 12, 12), 3)
    assert false_positive_volume_ml(touching | apart, reference, spacing) == pytest.approx(2.7)
    assert false_positive_volume_ml(touching, reference, spacing) == 0
    everything = false_positive_volume_ml(touching | apart, np.zeros(shape, bool), spacing)
    assert everything == pytest.approx(6.4 + 2.7)
    assert false_positive_volume_ml(np.zeros(shape, bool), reference, spacing) == 0


def test_components_join_over_edges_but_not_over_corners():
    reference = cube((4, 4, 4), (0, 0, 0), 1)
    by_edge, by_corner = reference.copy(), reference.copy()
    by_edge[0, 1, 1] = by_corner[1, 1, 1] = 1
    assert false_positive_volume_ml(by_edge, reference, (10.0, 10.0, 10.0)) == 0
    assert false_positive_volume_ml(by_corner, reference, (10.0, 10.0, 10.0)) == 1


def test_unlike_grids_and_bad_spacing_are_refused():
    small, large = np.ones((2, 2, 2), bool), np.ones((3, 2, 2), bool)
    with pytest.raises(ValueError, match="unlike grids"):
        hd95(small, large, UNIT)
    with pytest.raises(ValueError, match="three positive numbers"):
        false_positive_volume_ml(small, small, (1.0, 0.0, 1.0))


def test_examples_in_the_docstrings():
    results = doctest.testmod(metrics)
    assert results.attempted >= 10 and results.failed == 0
