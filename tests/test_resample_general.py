"""The general path, for oblique grids: against SimpleITK in patient space, scipy, the fast path."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation
from test_resample import SPACING, TARGET, blobs, noise

from hermes.files.volume import Volume
from hermes.resample import resample_image, resampled_affine
from hermes.resample.general import resample_to


def test_general_path_agrees_with_the_fast_one_on_a_parallel_grid():
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [5, -20, 12], True).as_matrix() * SPACING[::-1]
    affine[:3, 3] = (40, -3, 8)
    volume = Volume(noise((40, 60, 50)), affine)
    fast = resample_image(volume.array, SPACING, TARGET)
    target = resampled_affine(affine, volume.array.shape, TARGET)
    general = resample_to(volume, target, fast.shape, order=3)
    assert general.affine is target
    inner = tuple(slice(n // 3, -(n // 3)) for n in fast.shape)
    np.testing.assert_allclose(general.array[inner], fast[inner], atol=1e-4)


def drawn_affine(rng, spacing, centre):
    """A random rotation, half the time left-handed, with the spacing (z, y, x); centre at 0 mm."""
    turn = Rotation.random(rng=rng).as_matrix() * rng.choice([-1, 1])
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing[::-1]
    affine[:3, 3] = -affine[:3, :3] @ centre[::-1]
    return affine


def as_itk(array, affine):
    """A SimpleITK image with its geometry set by its own words: LPS+ mm, directions, spacing."""
    lps = np.diag([-1.0, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("order", "interpolator"),
    [(0, sitk.sitkNearestNeighbor), (1, sitk.sitkLinear), (3, sitk.sitkBSpline3)],
)
def test_general_path_equals_simpleitks_in_patient_space(seed, order, interpolator):
    rng = np.random.default_rng(seed)
    size, target_size = (24, 30, 26), (20, 18, 25)
    array = blobs(size, 5, seed) if order == 0 else noise(size, seed)
    middles = [(np.array(n) - 1) / 2 for n in (size, target_size)]
    affine = drawn_affine(rng, SPACING, middles[0])
    target = drawn_affine(rng, rng.uniform(0.7, 2.5, 3), middles[1] + rng.uniform(-4, 4, 3))
    outside = 255.0 if order == 0 else -9.0
    result = resample_to(Volume(array, affine), target, target_size, order, outside)
    reference = as_itk(np.zeros(target_size, array.dtype), target)
    moved = sitk.Resample(as_itk(array, affine), reference, sitk.Transform(), interpolator, outside)
    expected = sitk.GetArrayFromImage(moved)
    assert np.mean(expected != outside) > 0.2
    # on a voxel's face, or on the volume's, rounding may choose either side
    agree = np.isclose(result.array, expected, atol=2e-4 if order else 0)
    assert agree.mean() > 0.999
    assert np.array_equal(result.affine, target)


@pytest.mark.parametrize("seed", range(4))
def test_general_path_equals_scipys_linear_interpolation(seed):
    rng = np.random.default_rng(seed)
    size, target_size = (24, 30, 26), (15, 16, 17)
    affine = drawn_affine(rng, SPACING, (np.array(size) - 1) / 2)
    target = drawn_affine(rng, (0.8, 0.9, 1.1), (np.array(target_size) - 1) / 2)
    array = noise(size, seed)
    result = resample_to(Volume(array, affine), target, target_size, order=1)
    z, y, x = np.indices(target_size)
    millimetres = target @ np.stack([x, y, z, np.ones_like(x)]).reshape(4, -1)
    i, j, k, _ = np.linalg.solve(affine, millimetres).reshape(4, *target_size)
    inner = np.all([(p > 0) & (p < n - 1) for p, n in zip((k, j, i), size, strict=True)], axis=0)
    expected = map_coordinates(array, [k, j, i], order=1)
    assert inner.mean() > 0.5
    np.testing.assert_allclose(result.array[inner], expected[inner], atol=1e-4)


def test_general_path_turns_an_oblique_volume_back():
    size = (30, 32, 34)
    turn = Rotation.from_euler("z", 90, True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn
    volume = Volume(blobs(size, 5), affine)
    straight = np.eye(4)
    straight[0, 3] = -(size[1] - 1)  # turned, y runs to minus x
    result = resample_to(volume, straight, (30, 34, 32), order=0)
    np.testing.assert_array_equal(result.array, volume.array.transpose(0, 2, 1)[:, :, ::-1])
    assert result.array.dtype == np.uint8


def test_general_path_fills_the_outside_and_refuses_other_orders():
    volume = Volume(noise((4, 4, 4)), np.eye(4))
    away = np.eye(4)
    away[0, 3] = 2.0
    result = resample_to(volume, away, (4, 4, 4), order=1, outside=-7.0)
    np.testing.assert_allclose(result.array[..., :2], volume.array[..., 2:], atol=1e-6)
    assert (result.array[..., 2:] == -7).all()
    with pytest.raises(ValueError, match="order 2"):
        resample_to(volume, away, (4, 4, 4), order=2)
