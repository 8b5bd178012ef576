"""Sliding windows against a plain implementation that holds the whole volume."""

import doctest
from itertools import product

import blosc2
import numpy as np
import pytest
import torch

from hermes.predict import windows
from hermes.predict.windows import OpenSlab, sliding_window, window_starts

CLASSES = 3


def noisy_predict(crops):
    """Logits that depend on where in its window a voxel lies, so that averaging matters."""
    ramp = torch.linspace(-1.0, 1.0, crops[0].numel()).reshape(crops.shape[1:])
    waves = [2 * torch.sin(3 * crops + 2 * k) + ramp * (k - 1) for k in range(CLASSES)]
    return torch.cat(waves, dim=1)


def plain_average(image, window, stride, predict):
    """Averaged probabilities [k z y x]: sums over the whole (padded) volume in float64."""
    size = image.shape
    padded = torch.zeros([max(s, w) for s, w in zip(size, window, strict=True)])
    padded[: size[0], : size[1], : size[2]] = image
    total = torch.zeros(CLASSES, *padded.shape, dtype=torch.float64)
    count = torch.zeros(padded.shape)
    for corner in product(*map(window_starts, padded.shape, window, stride)):
        where = tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
        total[:, *where] += predict(padded[where][None, None])[0].double().sigmoid()
        count[where] += 1
    return (total / count)[:, : size[0], : size[1], : size[2]].numpy()


def random_image(*size):
    return torch.randn(*size, generator=torch.Generator().manual_seed(sum(size)))


def test_starts_are_distinct_and_the_last_is_flush_with_the_end():
    assert window_starts(192, 64, 32) == [0, 32, 64, 96, 128]
    assert window_starts(193, 64, 32) == [0, 32, 64, 96, 128, 129]
    assert window_starts(64, 64, 32) == window_starts(10, 64, 32) == [0]
    assert window_starts(65, 64, 64) == [0, 1]


@pytest.mark.parametrize("arguments", [(0, 4, 2), (10, 4, 5), (10, 4, 0)])
def test_impossible_windows_are_refused(arguments):
    with pytest.raises(ValueError, match="cannot cover"):
        window_starts(*arguments)


@pytest.mark.parametrize("size", [(8, 8, 8), (19, 13, 11), (5, 21, 9), (3, 2, 4), (23, 6, 17)])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
def test_equals_the_plain_average(size, threshold):
    image, window, stride = random_image(*size), (8, 6, 4), (4, 3, 3)
    masks, label = sliding_window(image, window, stride, noisy_predict, 3, CLASSES, threshold)
    mean = plain_average(image, window, stride, noisy_predict)
    assert masks.shape == mean.shape and label.shape == size
    near = np.abs(mean - threshold) <= 1e-6
    assert ((masks == (mean > threshold)) | near).all()
    expected = np.where(mean.max(0) > threshold, mean.argmax(0) + 1, 0)
    two_best = np.sort(mean, axis=0)[-2:]
    close = near.any(0) | (two_best[1] - two_best[0] <= 1e-6)
    assert ((label == expected) | close).all()
    assert len(np.unique(label)) >= CLASSES and close.mean() < 0.01


@pytest.mark.parametrize("batch_size", [1, 4, 7, 1000])
def test_every_window_once_whatever_the_batch(batch_size):
    z, y, x = (torch.arange(n) for n in (12, 10, 9))
    image = (z[:, None, None] * 100 + y[:, None] * 10 + x).float()
    seen, steps = [], []

    def predict(crops):
        seen.extend(int(crop[0, 0, 0, 0]) for crop in crops)
        return noisy_predict(crops / 1000)

    prediction = sliding_window(
        image, (4, 4, 4), 2, predict, batch_size, CLASSES, progress=lambda *n: steps.append(n)
    )
    corners = product((0, 2, 4, 6, 8), (0, 2, 4, 6), (0, 2, 4, 5))
    assert seen == [100 * c[0] + 10 * c[1] + c[2] for c in corners]
    assert steps[-1] == (80, 80) and len(steps) == -(-80 // batch_size)
    alone = sliding_window(image, (4, 4, 4), 2, lambda c: noisy_predict(c / 1000), 1, CLASSES)
    assert all(map(np.array_equal, prediction, alone))


@pytest.mark.parametrize(("depth", "height"), [(40, 8), (5, 5)])
def test_only_the_open_slab_is_held_in_float(monkeypatch, depth, height):
    held = []

    class Watched(OpenSlab):
        def add(self, corner, logits):
            super().add(corner, logits)
            floats = [
                t for t in vars(self).values() if torch.is_tensor(t) and t.is_floating_point()
            ]
            held.append((tuple(self.sums.shape), sum(t.numel() for t in floats)))

    monkeypatch.setattr(windows, "OpenSlab", Watched)
    sliding_window(random_image(depth, 12, 10), (8, 6, 5), (4, 3, 5), noisy_predict, 2, CLASSES)
    slab, window, counts = CLASSES * height * 12 * 10, CLASSES * height * 6 * 5, 12 * 10 + depth
    assert set(held) == {((CLASSES, height, 12, 10), slab + window + counts)}


def test_a_chunked_store_is_read_by_slabs_and_gives_the_same():
    image = random_image(20, 11, 9).half()
    store = blosc2.asarray(image.numpy(), chunks=(8, 8, 8))
    arguments = ((8, 8, 8), 4, noisy_predict, 2, CLASSES)
    expected = sliding_window(image, *arguments)
    for same in (store, image.numpy(), image[None], image[None].numpy()):
        assert all(map(np.array_equal, sliding_window(same, *arguments), expected))


def test_bfloat16_logits_are_summed_in_float32():
    # the probability, 0.50195, lies between two bfloat16 numbers that are 0.0039 apart
    def predict(crops):
        return torch.full((len(crops), 1, 4, 4, 4), 0.0078125, dtype=torch.bfloat16)

    arguments = (torch.zeros(12, 12, 12), (4, 4, 4), 2, predict, 5, 1)
    probability = 1 / (1 + np.exp(-0.0078125))
    assert sliding_window(*arguments, threshold=probability - 1e-6).masks.all()
    assert not sliding_window(*arguments, threshold=probability + 1e-6).masks.any()


def test_zero_logits_are_background_and_the_first_of_equal_classes_wins():
    image = torch.zeros(6, 6, 6)
    shape = (1, 2, 4, 4, 4)
    masks, label = sliding_window(image, (4, 4, 4), 2, lambda c: torch.zeros(shape), 1, 2)
    assert not masks.any() and not label.any()
    masks, label = sliding_window(image, (4, 4, 4), 2, lambda c: torch.ones(shape), 1, 2)
    assert masks.all() and (label == 1).all()


def test_what_predict_returns_is_left_alone():
    logits = torch.ones(1, 1, 4, 4, 4)
    sliding_window(torch.zeros(4, 4, 4), (4, 4, 4), 2, lambda c: logits, 1, 1)
    assert (logits == 1).all()


def test_wrong_predictions_and_images_are_named():
    image = torch.zeros(6, 6, 6)
    with pytest.raises(ValueError, match=r"expected \(1, 2, 4, 4, 4\)"):
        sliding_window(image, (4, 4, 4), 2, lambda c: c, 1, 2)
    with pytest.raises(ValueError, match="NaN logits near plane z = 0"):
        sliding_window(image, (4, 4, 4), 2, lambda c: c * torch.nan, 1, 1)
    with pytest.raises(ValueError, match="got shape"):
        sliding_window(torch.zeros(2, 6, 6, 6), (4, 4, 4), 2, lambda c: c, 1, 1)
    with pytest.raises(ValueError, match="255 classes"):
        sliding_window(image, (4, 4, 4), 2, lambda c: c, 1, 256)


def test_examples_in_the_docstrings():
    results = doctest.testmod(windows)
    assert results.attempted > 0 and results.failed == 0
