"""Splines against closed forms and scipy; labels against one-hot interpolation and argmax."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from hermes.resample import (
    box_on_grid,
    resample_image,
    resample_label,
    resample_label_to,
    resampled_affine,
    target_grid,
)

SPACING = (3.0, 0.8, 1.25)
TARGET = (1.5, 1.5, 1.5)


def centred(size, target_size, spacing, target_spacing):
    """Target voxel centres as source indices, written from the convention's own words."""
    middle = (size - 1) / 2 * spacing
    return (np.arange(target_size) * target_spacing - (target_size - 1) / 2 * target_spacing
            + middle) / spacing  # fmt: skip


def positions(shape, target_shape, spacing=SPACING, target=TARGET):
    return [centred(*axis) for axis in zip(shape, target_shape, spacing, target, strict=True)]


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def blobs(shape, count, seed=0):
    """A label map of touching regions: the nearest of some random seeds, a few of them 0."""
    rng = np.random.default_rng(seed)
    seeds = rng.uniform(0, shape, (3 * count, 3))
    index = np.indices(shape).reshape(3, 1, -1)
    nearest = ((index - seeds.T[:, :, None]) ** 2).sum(0).argmin(0)
    return (nearest % (count + 1)).astype(np.uint8).reshape(shape)


def one_hot_argmax(label, points):
    """The definition: each label's mask interpolated linearly, then the largest."""
    clipped = [np.clip(p, 0, n - 1) for p, n in zip(points, label.shape, strict=True)]
    grid = np.meshgrid(*clipped, indexing="ij")
    values = np.unique(label)
    masks = [map_coordinates((label == v).astype(float), grid, order=1) for v in values]
    return values[np.argmax(np.round(masks, 9), axis=0)].astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "spacing", "target", "expected", "offset"),
    [
        ((10, 10, 10), (3, 1, 1.5), (1.5, 1.5, 1.5), (20, 7, 10), (-0.75, 0.0, 0.0)),
        ((1, 1, 1), (1, 1, 1), (9, 9, 9), (1, 1, 1), (0, 0, 0)),
        ((5, 5, 5), (1, 1, 1), (2, 2, 2), (3, 3, 3), (0, 0, 0)),  # 2.5 rounds up
    ],
)
def test_target_grid(size, spacing, target, expected, offset):
    found, found_offset = target_grid(size, spacing, target)
    assert found == expected
    assert found_offset == pytest.approx(offset)


def test_target_size_ignores_float_noise_in_the_spacing():
    for spacing in (0.8, float(np.float32(0.8)), np.nextafter(0.8, 0)):
        assert target_grid((15, 1, 1), (spacing, 1, 1), (1.6, 1, 1))[0][0] == 8


@pytest.mark.parametrize("turn", [np.eye(3), np.diag([-1.0, -1, 1]),
                                  Rotation.from_euler("xyz", [9, 4, -31], True).as_matrix()],
                         ids=["RAS", "LPS", "oblique"])  # fmt: skip
def test_affine_keeps_the_centre_and_the_directions(turn):
    affine = np.eye(4)
    affine[:3, :3] = turn * SPACING[::-1]
    affine[:3, 3] = (5, -7, 11)
    size = (9, 41, 30)
    target_size, offset = target_grid(size, SPACING, TARGET)
    result = resampled_affine(affine, size, TARGET)

    np.testing.assert_allclose(result[:3, :3], turn * TARGET[::-1], atol=1e-12)
    middle = np.append((np.array(size[::-1]) - 1) / 2, 1)
    target_middle = np.append((np.array(target_size[::-1]) - 1) / 2, 1)
    np.testing.assert_allclose(result @ target_middle, affine @ middle, atol=1e-9)
    np.testing.assert_allclose(result[:3, 3] - affine[:3, 3], turn @ offset[::-1], atol=1e-9)


def test_a_linear_ramp_is_exact_everywhere_even_past_the_outer_centres():
    shape = (7, 40, 33)
    z, y, x = np.indices(shape)
    result = resample_image(2.0 * z - 0.5 * y + 0.25 * x + 3, SPACING, TARGET)
    points = positions(shape, result.shape)
    assert points[0][0] < 0  # thick slices: the first target slice is outside the source centres
    z, y, x = np.meshgrid(*points, indexing="ij")
    np.testing.assert_allclose(result, 2.0 * z - 0.5 * y + 0.25 * x + 3, atol=2e-5)


def test_each_axis_is_the_natural_cubic_spline():
    values = noise((6, 1, 1))
    result = resample_image(values, (1, 1, 1), (0.4, 1, 1))
    points = centred(6, 15, 1, 0.4)
    inside = (points >= 0) & (points <= 5)
    expected = CubicSpline(np.arange(6), values[:, 0, 0], bc_type="natural")(points)
    np.testing.assert_allclose(result[inside, 0, 0], expected[inside], atol=1e-5)
    assert 0 < (~inside).sum() < 4


@pytest.mark.parametrize("target", [TARGET, (0.9, 0.9, 0.9), (6, 6, 6)])
def test_interior_equals_scipy_order_3(target):
    volume = noise((60, 70, 50))
    result = resample_image(volume, SPACING, target)
    points = positions(volume.shape, result.shape, target=target)
    inner = [(p > 11) & (p < n - 12) for p, n in zip(points, volume.shape, strict=True)]
    points = [p[keep] for p, keep in zip(points, inner, strict=True)]
    expected = map_coordinates(volume, np.meshgrid(*points, indexing="ij"), order=3, mode="mirror")
    assert expected.size > 100
    np.testing.assert_allclose(result[np.ix_(*inner)], expected, atol=5e-5)


@pytest.mark.parametrize("mode", ["mirror", "reflect", "nearest"])
def test_whole_volume_error_is_no_worse_than_scipy_order_3(mode):
    shape, spacing = (24, 48, 40), (3.0, 0.8, 0.8)
    rng = np.random.default_rng(3)
    waves = rng.uniform(-0.7, 0.7, (30, 3)), rng.uniform(0, 2 * np.pi, 30)  # radians per voxel

    def field(points):
        grid = np.stack(np.meshgrid(*points, indexing="ij"), axis=-1)
        return np.cos(grid @ waves[0].T + waves[1]).sum(axis=-1)

    source = field([np.arange(n) for n in shape])
    result = resample_image(source, spacing, TARGET)
    points = positions(shape, result.shape, spacing=spacing)
    truth = field(points)
    peer = map_coordinates(source, np.meshgrid(*points, indexing="ij"), order=3, mode=mode)

    def error(x):
        return np.sqrt(np.mean((x - truth) ** 2))

    assert error(result) < 0.95 * error(peer)


@pytest.mark.parametrize("target", [TARGET, (0.9, 0.9, 0.9), (7, 6, 6)])
def test_planes_asked_for_alone_are_those_of_the_whole(target):
    volume = noise((60, 21, 17))
    whole = resample_image(volume, SPACING, target)
    size = len(whole)
    for planes in ((0, size), (0, 1), (size - 1, size), (size // 3, size // 3 + 9)):
        part = resample_image(volume, SPACING, target, planes)
        np.testing.assert_allclose(part, whole[slice(*planes)], atol=2e-6)


def test_a_box_goes_to_the_target_voxels_that_it_touches():
    size, spacing, target = (20, 40, 30), (3.0, 0.8, 1.5), (1.5, 1.5, 1.5)
    box = (slice(5, 9), slice(0, 40), slice(3, 4))
    found = box_on_grid(box, size, spacing, target)
    assert found == (slice(10, 18), slice(0, 21), slice(3, 4))
    rng = np.random.default_rng(0)
    for _ in range(50):
        box = tuple(slice(a, b + 1) for a, b in (sorted(rng.integers(0, n, 2)) for n in size))
        marked = np.zeros(size, np.float32)
        marked[box] = 1
        linear = resample_label(marked.astype(np.uint8), spacing, target)
        for side, where in zip(
            box_on_grid(box, size, spacing, target), np.nonzero(linear), strict=True
        ):
            assert side.start <= where.min() and where.max() < side.stop
            assert side.stop - side.start <= np.ptp(where) + 4


def test_large_label_maps_are_voted_slab_by_slab(monkeypatch):
    volume = blobs((30, 25, 20), 6)
    whole = resample_label(volume, SPACING, TARGET)
    monkeypatch.setattr("hermes.resample.label.SLAB_VOXELS", 1000)
    np.testing.assert_array_equal(resample_label(volume, SPACING, TARGET), whole)


def test_same_spacing_returns_the_same_image():
    volume = noise((5, 9, 37))
    np.testing.assert_allclose(resample_image(volume, TARGET, TARGET), volume, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, ">i2", np.uint16, np.float64])
def test_any_number_type_and_memory_layout(dtype):
    volume = (noise((6, 20, 10)) * 20 + 100).astype(dtype)
    expected = resample_image(volume.astype(np.float32), SPACING, TARGET)
    np.testing.assert_array_equal(resample_image(volume, SPACING, TARGET), expected)
    strided = np.asfortranarray(volume)[:, ::-1][:, ::-1]
    np.testing.assert_array_equal(resample_image(strided, SPACING, TARGET), expected)


def test_resampling_commutes_with_flips():
    volume, label = noise((7, 40, 33)), blobs((7, 40, 33), 4)
    result = resample_image(volume, SPACING, TARGET)
    np.testing.assert_allclose(
        resample_image(volume[::-1, ::-1, ::-1], SPACING, TARGET), result[::-1, ::-1, ::-1],
        atol=2e-5,
    )  # fmt: skip
    np.testing.assert_array_equal(
        resample_label(label[:, ::-1], SPACING, TARGET),
        resample_label(label, SPACING, TARGET)[:, ::-1],
    )


@pytest.mark.parametrize("target", [TARGET, (0.9, 1.1, 0.7), (6, 6, 6)])
def test_labels_equal_one_hot_and_argmax(target):
    label = blobs((24, 50, 40), 9)
    result = resample_label(label, SPACING, target)
    expected = one_hot_argmax(label, positions(label.shape, result.shape, target=target))
    assert len(np.unique(result)) == 10
    assert np.mean(result == expected) >= 0.9999


def test_the_lowest_label_wins_a_tie():
    label = np.array([3, 1], np.uint8).reshape(2, 1, 1)  # asked half way between the two
    assert resample_label_to(label, (1, 1, 1), (1, 1, 1), (2, 1, 1)).item() == 1
    many = np.array([9, 4, 4, 9, 250, 255, 250, 9], np.uint8).reshape(2, 2, 2)
    assert resample_label_to(many, (1, 1, 1), (1, 1, 1), (2, 2, 2)).item() == 9  # three of eight


def test_labels_never_take_a_value_that_was_not_there():
    label = blobs((12, 30, 30), 2) * 120
    assert set(np.unique(resample_label(label, SPACING, TARGET))) <= {0, 120, 240}


def test_labels_come_back_on_the_grid_they_left():
    z, y, x = np.indices((20, 60, 60)) - np.array([9.5, 29.5, 29.5]).reshape(3, 1, 1, 1)
    ball = ((3 * z) ** 2 + (0.8 * y) ** 2 + (0.8 * x) ** 2 < 18**2).astype(np.uint8)
    spacing = (3.0, 0.8, 0.8)
    model = resample_label(ball, spacing, TARGET)
    back = resample_label_to(model, TARGET, ball.shape, spacing)
    dice = 2 * (back & ball).sum() / (back.sum() + ball.sum())
    assert back.shape == ball.shape
    assert dice > 0.98
    shifted = 2 * (back & np.roll(ball, 1, axis=1)).sum() / (back.sum() + ball.sum())
    assert dice > shifted + 0.005  # half a voxel of misplacement would show
