"""Windows and z-scores by pieces equal those of the whole image; percentiles equal numpy's."""

import numpy as np
import pytest

from hermes.config.schema import Intensity
from hermes.preprocess import intensity, normalise
from hermes.preprocess.intensity import percentiles, window_of


def images():
    """Values of many kinds: negative, tied, constant, of either zero, one voxel."""
    rng = np.random.default_rng(0)
    for number in range(60):
        shape = tuple(rng.integers(1, 14, 3))
        image = (rng.normal(size=shape) * 10.0 ** rng.integers(-3, 5)).astype(np.float32)
        if number % 3 == 0:
            image = np.round(image)
        if number % 4 == 0:
            image[rng.random(shape) < 0.5] = -0.0 if number % 8 else 0.0
        yield image
    yield np.full((3, 4, 5), -2.5, np.float32)
    yield np.zeros((1, 1, 1), np.float32)


@pytest.mark.parametrize("wanted", [(2, 98), (0, 100), (50, 50), (0.3, 99.9)])
@pytest.mark.parametrize("voxels", [37, 1 << 24])
def test_percentiles_are_numpys_to_the_last_bit(monkeypatch, wanted, voxels):
    monkeypatch.setattr(intensity, "PIECE_VOXELS", voxels)
    for image in images():
        found, expected = percentiles(image, wanted), np.percentile(image, wanted)
        assert np.array_equal(found, expected)
        assert {type(value) for value in found} == {np.float64}


@pytest.mark.parametrize("window", [{"clip": (-30, 40)}, {"percentiles": (2, 98)}])
def test_moments_by_pieces_are_those_of_the_whole(monkeypatch, window):
    image = np.random.default_rng(1).normal(5, 40, (37, 20, 11)).astype(np.float32)
    image[20:] += 30  # pieces that differ
    whole = window_of(image, Intensity(**window))
    clipped = np.clip(image.astype(np.float64), whole.low, whole.high)
    assert whole.mean == pytest.approx(clipped.mean(), rel=1e-6)
    assert whole.std == pytest.approx(clipped.std(), rel=1e-6)
    monkeypatch.setattr(intensity, "PIECE_VOXELS", 500)
    parts = window_of(image, Intensity(**window))
    assert (parts.low, parts.high) == (whole.low, whole.high)
    assert parts.mean == pytest.approx(whole.mean, rel=1e-9)
    assert parts.std == pytest.approx(whole.std, rel=1e-9)


def test_z_scores_of_the_clipped_image():
    image = np.random.default_rng(2).integers(-1000, 1000, (6, 7, 8)).astype(np.int16)
    scored, window = normalise(image, Intensity(clip=(-500, 500)))
    clipped = np.clip(image, -500, 500)
    np.testing.assert_allclose(scored, (clipped - clipped.mean()) / clipped.std(), atol=1e-6)
    assert (window["low"], window["high"]) == (-500, 500)
    assert scored.dtype == np.float32


def test_a_constant_image_is_zero():
    scored, window = normalise(np.full((2, 3, 4), 7, np.int16), Intensity(percentiles=(2, 98)))
    assert not scored.any()
    assert window == {"low": 7.0, "high": 7.0, "mean": 7.0, "std": 0.0}
