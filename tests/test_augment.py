"""Augmentation on volumes whose answer is known in closed form."""

import dataclasses
import math

import pytest
import torch

from hermes.train import augment
from hermes.train.augment import INTENSITIES, Augmentation

CROP, MARGIN = (12, 10, 8), 6
SIZE = tuple(n + MARGIN for n in CROP)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(size: int = 4, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = seeded(seed)
    image = torch.randn(size, 1, *SIZE, generator=generator)
    return image, torch.randint(0, 200, (size, *SIZE), generator=generator).to(torch.uint8)


def quiet(size: int = 4, **changes: torch.Tensor) -> Augmentation:
    """A draw without affine and changes of intensity, except for the fields given."""
    drawn = augment.draw(torch.zeros(size), CROP, MARGIN, seeded())
    off = {"affine": torch.zeros(size, dtype=torch.bool)}
    return dataclasses.replace(drawn, **{**off, **changes})


def centre(tensor: torch.Tensor) -> torch.Tensor:
    half = MARGIN // 2
    return tensor[..., half : half + CROP[0], half : half + CROP[1], half : half + CROP[2]]


def test_identity_affine_is_the_centre_crop():
    image, label = batch()
    eye = torch.eye(3).repeat(4, 1, 1)
    out, mask = augment.apply(
        quiet(affine=torch.ones(4, dtype=torch.bool), matrix=eye), image, label
    )
    torch.testing.assert_close(out, centre(image), rtol=0, atol=1e-5)
    assert torch.equal(mask, centre(label))


def test_quarter_turn_about_z_turns_the_plane_of_y_and_x():
    volume = torch.randn(5, 9, 9, generator=seeded())
    turn = torch.tensor([[math.pi / 2, 0.0, 0.0]])
    matrix = augment.affine_matrix(torch.ones(1, 3), turn, torch.zeros(1, 6))[0]
    points = augment.sample_points(matrix, (5, 9, 9), (5, 9, 9))
    turned = augment.trilinear(volume, points)
    torch.testing.assert_close(turned, torch.rot90(volume, -1, (1, 2)), rtol=0, atol=1e-4)


def test_scale_of_one_axis_reads_a_ramp_at_stretched_places():
    z = torch.arange(21.0)
    volume = z[:, None, None].expand(21, 21, 21).contiguous()
    matrix = augment.affine_matrix(
        torch.tensor([[1.25, 1.0, 1.0]]), torch.zeros(1, 3), torch.zeros(1, 6)
    )[0]
    out = augment.trilinear(volume, augment.sample_points(matrix, (21, 21, 21), (9, 9, 9)))
    expected = 10 + 1.25 * torch.arange(-4.0, 5.0)
    torch.testing.assert_close(out[:, 4, 4], expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(out[:, 0, 8], expected, rtol=0, atol=1e-4)


def test_shear_fills_off_diagonal_entries_row_by_row():
    shear = torch.arange(1.0, 7.0)[None]
    matrix = augment.affine_matrix(torch.full((1, 3), 9.0), torch.zeros(1, 3), shear)[0]
    assert matrix.tolist() == [[9, 1, 2], [3, 9, 4], [5, 6, 9]]


def test_rotations_keep_lengths_and_compose_x_after_y_after_z():
    angles = torch.tensor([[0.3, -0.4, 0.5]])
    ones, none = torch.ones(1, 3), torch.zeros(1, 6)
    matrix = augment.affine_matrix(ones, angles, none)[0]
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(3))
    z, y, x = (augment.affine_matrix(ones, angles * row, none)[0] for row in torch.eye(3))
    torch.testing.assert_close(matrix, x @ y @ z)
    for own, turn in enumerate((z, y, x)):
        assert torch.equal(turn[own], torch.eye(3)[own])  # the axis turned about stays


def test_outside_is_zero():
    matrix = (torch.eye(3) * 100).repeat(4, 1, 1)
    drawn = quiet(affine=torch.ones(4, dtype=torch.bool), matrix=matrix)
    image, label = torch.ones(4, 1, *SIZE), torch.full((4, *SIZE), 7, dtype=torch.uint8)
    out, mask = augment.apply(drawn, image, label)
    assert int((out != 0).sum()) == 0  # even sizes: no voxel of the crop lies on the middle
    assert int(mask.sum()) == 0


def test_label_is_the_nearest_voxel_of_the_same_points():
    label = torch.randint(1, 255, (9, 8, 7), generator=seeded()).to(torch.uint8)
    matrix = augment.draw(torch.zeros(1), (6, 6, 6), 0, seeded(5)).matrix[0]
    points = augment.sample_points(matrix, (9, 8, 7), (9, 8, 7))
    got = augment.nearest(label, points)
    for (z, y, x), value in zip(
        torch.cartesian_prod(*map(torch.arange, (9, 8, 7))), got.flatten(), strict=True
    ):
        i, j, k = (round(float(c)) for c in points[z, y, x].flip(0))
        inside = 0 <= i < 9 and 0 <= j < 8 and 0 <= k < 7
        assert int(value) == (int(label[i, j, k]) if inside else 0)


def test_labels_keep_to_the_values_of_the_input():
    image, label = batch(16)
    label = (label % 3) * 100
    drawn = augment.draw(torch.ones(16), CROP, MARGIN, seeded(3))
    _, mask = augment.apply(drawn, image, label)
    assert set(mask.unique().tolist()) <= {0, 100, 200}
    assert mask.dtype == torch.uint8


def test_probability_zero_only_crops():
    image, label = batch()
    drawn = quiet()
    out, mask = augment.apply(drawn, image, label)
    assert not drawn.drawn.any()
    for i, start in enumerate(drawn.start.tolist()):
        window = tuple(slice(s, s + n) for s, n in zip(start, CROP, strict=True))
        assert torch.equal(out[i, 0], image[i, 0][window])
        assert torch.equal(mask[i], label[i][window])


def test_crops_reach_every_corner_of_the_margin():
    start = augment.draw(torch.zeros(2000), CROP, MARGIN, seeded()).start
    for axis in range(3):
        assert set(start[:, axis].tolist()) == set(range(MARGIN + 1))


def test_draw_follows_probabilities_and_ranges():
    probabilities = torch.tensor([0.0, 0.1, 0.2, 1.0]).repeat(3000)
    drawn = augment.draw(probabilities, CROP, MARGIN, seeded())
    share = drawn.drawn.float().reshape(3000, 4, 6).mean(0)
    for row, expected in enumerate([0.0, 0.1, 0.2, 1.0]):
        assert share[row].tolist() == pytest.approx([expected] * 6, abs=0.03)
    assert float(drawn.affine.float().mean()) == pytest.approx(0.5, abs=0.02)
    amount = dict(zip(INTENSITIES, drawn.amount.unbind(1), strict=True))
    bounds = {"multiply": (0.7, 1.3), "gamma": (0.7, 1.5), "contrast": (0.7, 1.3)}
    for name, (low, high) in {**bounds, "blur": (0.5, 1.0), "noise": (0.0, 0.1)}.items():
        assert low <= float(amount[name].min()) < low + 0.01
        assert high - 0.01 < float(amount[name].max()) <= high
    assert float(amount["add"].mean()) == pytest.approx(0, abs=0.005)
    assert float(amount["add"].std()) == pytest.approx(0.1, abs=0.005)


def test_affine_parameters_stay_in_the_published_ranges():
    matrix = augment.draw(torch.zeros(5000), CROP, MARGIN, seeded()).matrix
    # |R S v| = |S v|, so the columns' lengths are those of scale and shear alone
    length = matrix.norm(dim=1)
    assert 0.7 <= float(length.min()) < 0.75
    assert 1.38 < float(length.max()) <= math.hypot(1 / 0.7, 0.1, 0.1)
    assert float(matrix[:, 0, 1].abs().max()) < 1 / 0.7 * math.sin(math.radians(60))
    assert bool((torch.linalg.det(matrix) > 0.2).all())


def test_same_seed_same_draw_and_same_voxels_twice():
    probabilities = torch.full((8,), 0.7)
    first, second = (augment.draw(probabilities, CROP, MARGIN, seeded(9)) for _ in range(2))
    other = augment.draw(probabilities, CROP, MARGIN, seeded(10))
    assert torch.equal(first.amount, second.amount)
    assert not torch.equal(first.amount, other.amount)
    image, label = batch(8)
    kept = image.clone()
    results = [augment.apply(drawn, image, label) for drawn in (first, first, second)]
    for out, mask in results[1:]:
        assert torch.equal(out, results[0][0])
        assert torch.equal(mask, results[0][1])
    assert torch.equal(image, kept)


def test_generator_advances_by_the_same_amount_whatever_happens():
    ends = []
    for p in (0.0, 1.0):
        generator = seeded()
        augment.draw(torch.full((3,), p), CROP, MARGIN, generator)
        ends.append(generator.get_state())
    assert torch.equal(*ends)


def test_changes_come_in_the_published_order():
    assert INTENSITIES == ("multiply", "add", "gamma", "contrast", "blur", "noise")
    image, label = batch(1)
    amount = torch.tensor([[1.2, 0.3, 1.4, 0.8, 0.7, 0.05]])
    drawn = quiet(1, drawn=torch.ones(1, 6, dtype=torch.bool), amount=amount)
    out, _ = augment.apply(drawn, image, label)
    plain, _ = augment.apply(quiet(1), image, label)
    volume = augment.gamma(plain[0, 0] * 1.2 + 0.3, 1.4)
    volume = augment.blur(augment.contrast(volume, 0.8), 0.7)
    volume = augment.noise(volume, 0.05, int(drawn.noise_seed[0]))
    torch.testing.assert_close(out[0, 0], volume)


@pytest.mark.parametrize("column", range(6))
def test_each_change_happens_alone(column):
    image, label = batch(1)
    only = torch.arange(6)[None] == column
    drawn = quiet(1, drawn=only)
    out, mask = augment.apply(drawn, image, label)
    plain, same = augment.apply(quiet(1), image, label)
    amount, seed = float(drawn.amount[0, column]), int(drawn.noise_seed[0])
    if INTENSITIES[column] == "noise":
        expected = augment.noise(plain[0, 0], amount, seed)
    else:
        expected = augment.CHANGES[INTENSITIES[column]](plain[0, 0], amount)
    torch.testing.assert_close(out[0, 0], expected)
    assert not torch.equal(out, plain)
    assert torch.equal(mask, same)


def volume(seed: int = 4) -> torch.Tensor:
    return torch.randn(16, 15, 14, generator=seeded(seed)) * 1.3 + 0.4


@pytest.mark.parametrize("exponent", [0.7, 1.0, 1.5])
def test_gamma_keeps_mean_and_deviation_and_order(exponent):
    before, after = volume(), augment.gamma(volume(), exponent)
    assert float(after.mean()) == pytest.approx(float(before.mean()), abs=1e-5)
    assert float(after.std()) == pytest.approx(float(before.std()), rel=1e-5)
    assert float(after.flatten()[before.flatten().argsort()].diff().min()) > -1e-6
    assert torch.allclose(after, before, atol=1e-5) == (exponent == 1.0)


def test_gamma_leaves_a_constant_volume_alone():
    flat = torch.full((6, 6, 6), 2.5)
    torch.testing.assert_close(augment.gamma(flat, 1.3), flat)


def test_contrast_keeps_the_range_and_scales_inside_it():
    before = volume()
    low, high = before.aminmax()
    stretched, shrunk = augment.contrast(before, 1.3), augment.contrast(before, 0.7)
    assert float(stretched.min()) == float(low)
    assert float(stretched.max()) == float(high)
    torch.testing.assert_close(shrunk, (before - before.mean()) * 0.7 + before.mean())


@pytest.mark.parametrize("sigma", [0.5, 0.8, 1.0])
def test_blur_of_a_point_is_the_normalised_gaussian(sigma):
    point = torch.zeros(11, 12, 13)
    point[5, 6, 7] = 1.0
    blurred = augment.blur(point, sigma)
    assert float(blurred.sum()) == pytest.approx(1.0, abs=1e-6)
    reach = math.ceil(3 * sigma)
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    line = line / line.sum()
    kernel = line[:, None, None] * line[:, None] * line
    window = (slice(5 - reach, 6 + reach), slice(6 - reach, 7 + reach), slice(7 - reach, 8 + reach))
    torch.testing.assert_close(blurred[window], kernel)


def test_blur_sees_zero_outside_and_survives_thin_volumes():
    ones = augment.blur(torch.ones(9, 9, 9), 1.0)
    assert float(ones[4, 4, 4]) == pytest.approx(1.0)
    assert float(ones[0, 4, 4]) < 0.75
    side = math.exp(-0.5)
    total = 1 + 2 * sum(math.exp(-0.5 * k * k) for k in (1, 2, 3))
    thin = augment.blur(torch.ones(2, 9, 9), 1.0)
    assert float(thin[0, 4, 4]) == pytest.approx((1 + side) / total)


def test_noise_has_the_drawn_deviation_and_its_own_seed():
    still = torch.zeros(40, 40, 40)
    noisy = augment.noise(still, 0.08, 5)
    assert float(noisy.std()) == pytest.approx(0.08, rel=0.02)
    assert float(noisy.mean()) == pytest.approx(0, abs=1e-3)
    assert torch.equal(noisy, augment.noise(still, 0.08, 5))
    assert not torch.equal(noisy, augment.noise(still, 0.08, 6))


def test_wrong_sizes_and_probabilities_are_refused():
    image, label = batch(3)
    with pytest.raises(ValueError, match="drawn for crops"):
        augment.apply(quiet(4), image, label)
    with pytest.raises(ValueError, match="drawn for crops"):
        augment.apply(quiet(3), image[..., 1:], label[..., 1:])
    with pytest.raises(ValueError, match="probabilities"):
        augment.draw(torch.tensor([1.5]), CROP, MARGIN, seeded())
    with pytest.raises(ValueError, match="margin"):
        augment.draw(torch.zeros(1), CROP, -1, seeded())
