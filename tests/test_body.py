"""The body's box from the image alone: every kind of scan, and nothing lost of the body."""

import numpy as np
import pytest
from scipy import ndimage

from hermes.preprocess.body import body_box

SIZE = (40, 96, 80)
WHOLE = tuple(slice(0, n) for n in SIZE)


def ellipse(centre=(48, 40), radii=(22, 28), z=(0, 40)):
    """Mask [z, y, x] of an elliptic cylinder."""
    _, y, x = np.indices(SIZE)
    inside = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1
    inside[: z[0]] = inside[z[1] :] = False
    return inside


def noise(scale, seed=0):
    return np.random.default_rng(seed).normal(0, scale, SIZE)


def extent(mask):
    """Smallest box of a mask."""
    return tuple(s for s in ndimage.find_objects(mask.astype(int))[0])


def ct():
    """Air, a body with lungs and fat, a table below it, and a circle beyond which it is -3024."""
    body = ellipse()
    image = np.where(body, -100.0, -1000.0)
    image[ellipse(radii=(19, 25))] = 40.0
    image[ellipse(centre=(48, 30), radii=(10, 7))] = -850.0
    image[:, 76:78, 10:70] = -300.0
    image = (image + noise(20)).astype(np.int16)
    image[:, ~ellipse(radii=(47.9, 39.9))[0]] = -3024
    return image, body


def pet():
    """Air near 0, faint legs, an organ, and lesions forty times as hot as fat."""
    body = ellipse(z=(6, 40))
    image = np.where(body, 0.4, 0.0) + np.abs(noise(0.01))
    image[20:][ellipse()[20:]] = 0.25
    image[ellipse(centre=(48, 40), radii=(9, 9), z=(8, 16))] = 4.0
    image[ellipse(centre=(50, 45), radii=(3, 3), z=(9, 12))] = 16.0
    return image.astype(np.float32), body


def skull_stripped():
    """Background exactly 0, tissue of every grey."""
    body = ellipse(z=(5, 33))
    grey = ndimage.gaussian_filter(noise(1), 2)
    return np.where(body, 120 + 300 * grey, 0).clip(0).astype(np.int16), body


def biased_mr():
    """Rician noise in air, a coil at the top whose field falls to a quarter."""
    body = ellipse()
    field = np.linspace(1.0, 0.25, SIZE[1])[:, None]
    tissue = np.where(body, 300 * field, 0)
    return np.hypot(tissue + noise(8), noise(8, seed=1)).astype(np.int16), body


SCANS = {"ct": ct, "pet": pet, "skull stripped": skull_stripped, "biased mr": biased_mr}


@pytest.mark.parametrize("scan", SCANS)
def test_the_box_holds_the_body_and_little_more(scan):
    image, body = SCANS[scan]()
    for side, real in zip(body_box(image), extent(body), strict=True):
        assert real.start - 3 <= side.start <= real.start
        assert real.stop <= side.stop <= real.stop + 3


@pytest.mark.parametrize("scan", SCANS)
def test_z_scores_of_a_clipped_image_have_the_same_box_to_a_voxel(scan):
    image, _ = SCANS[scan]()
    clipped = np.clip(image, *np.percentile(image, (2, 98))) if scan != "ct" else np.clip(
        image, -991, 500)  # fmt: skip
    scored = ((clipped - clipped.mean()) / clipped.std()).astype(np.float32)
    for side, other in zip(body_box(image), body_box(scored), strict=True):
        assert abs(side.start - other.start) <= 1
        assert abs(side.stop - other.stop) <= 1


def surface_coil(floor, reach):
    """Rician noise, a coil at the top whose field falls to a share of its peak within `reach`."""
    depth = np.clip(np.arange(SIZE[1]) - 26.0, 0, None)[:, None]
    field = floor + (1 - floor) * np.exp(-((depth / reach) ** 2) / 2)
    body = ellipse()
    tissue = np.where(body, 300 * field, 0)
    return np.hypot(tissue + noise(8), noise(8, seed=1)).astype(np.int16), body


def cut_off(image, body):
    """Share of the body outside its box."""
    return 1 - np.count_nonzero(body[body_box(image)]) / np.count_nonzero(body)


@pytest.mark.parametrize("reach", [6, 8, 12, 16])
def test_a_field_that_falls_to_a_fifth_cuts_nothing_off(reach):
    assert cut_off(*surface_coil(0.2, reach)) == 0


def test_the_limit_is_as_the_docstring_has_it_a_field_that_falls_to_a_tenth_cuts_much_off():
    assert 0.2 < max(cut_off(*surface_coil(0.1, reach)) for reach in (8, 12)) < 0.6
    assert "At a tenth" in body_box.__doc__


def test_parts_that_do_not_touch_are_all_kept():
    left, right = ellipse((30, 20), (12, 10)), ellipse((60, 60), (12, 8), z=(4, 30))
    image = np.where(left | right, 50, -1000).astype(np.int16)
    box, real = body_box(image), extent(left | right)
    assert all(s.start <= r.start and s.stop >= r.stop for s, r in zip(box, real, strict=True))


def test_specks_are_not():
    image, body = ct()
    image[2:4, 3:5, 38:41] = 500
    assert body_box(image)[1].start >= extent(body)[1].start - 3


def test_the_margin_ends_with_the_volume():
    image, _ = ct()
    close, wide = body_box(image), body_box(image, margin_voxels=9)
    for side, other, length in zip(close, wide, SIZE, strict=True):
        assert other == slice(max(0, side.start - 9), min(length, side.stop + 9))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros(SIZE, np.int16),
        noise(20).astype(np.int16),  # tissue up to every edge
        np.full((1, 1, 1), 7, np.uint8),
        np.where(np.indices(SIZE).sum(0) % 191 == 0, 9.0, 0.0),  # specks in nothing
    ],
    ids=["constant", "no air", "one voxel", "specks"],
)
def test_the_whole_volume_where_no_body_stands_out(image):
    assert body_box(image) == tuple(slice(0, n) for n in image.shape)


def test_a_large_volume_is_right_to_two_blocks():
    image = np.full((30, 500, 500), -1000, np.int16)
    image[:, 200:340, 120:410] = 30
    z, y, x = body_box(image)
    assert z == slice(0, 30)
    for side, start, stop in ((y, 200, 340), (x, 120, 410)):
        assert start - 8 <= side.start <= start
        assert stop <= side.stop <= stop + 8
