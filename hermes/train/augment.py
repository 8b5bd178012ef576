"""Augmentation of training crops, as published for Hermes: draw the parameters, then apply them.

A training crop arrives `margin` voxels larger per axis than the network wants (30 at 128). With
probability 0.5 it is deformed by an affine and its centre is kept, in one resampling; otherwise
a random crop is taken. Then six changes of intensity follow in a fixed order, each with the
sample's own probability (0.1 for CT, PET and DLBS, 0.2 for other MR). There are no flips.

`draw` takes everything from one CPU generator, so the parameters do not depend on the training
device; `apply` runs on the device of the image and only touches what was drawn. Applying one
draw twice gives the same voxels. Images are z-scored, so outside is 0; labels outside are 0.

Source: ranges, probabilities and order are those of the code released with Gao et al., Training
Like a Medical Resident: Context-Prior Learning Toward Universal Medical Image Segmentation,
CVPR 2024.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

AFFINE_PROBABILITY = 0.5
SCALE = (0.7, 1 / 0.7)  # sampling step, per axis: above 1 the anatomy shrinks
ROTATION_DEGREES = (-30.0, 30.0)  # about each axis
SHEAR = (-0.1, 0.1)  # every off-diagonal entry
MULTIPLY = (0.7, 1.3)
ADD_STD = 0.1  # in standard deviations of the z-scored image, as is NOISE_STD
GAMMA = (0.7, 1.5)
CONTRAST = (0.7, 1.3)
BLUR_SIGMA = (0.5, 1.0)  # voxels
NOISE_STD = (0.0, 0.1)


@dataclass(frozen=True)
class Augmentation:
    """What one batch draws; every tensor lies on the CPU and has one row per sample."""

    crop: tuple[int, int, int]  # output size, z y x
    margin: int  # voxels by which the input is larger, per axis
    start: Int[Tensor, "b 3"]  # corner of the random crop, z y x; used where `affine` is False
    affine: Bool[Tensor, " b"]  # True: deform, then keep the centre
    matrix: Float[Tensor, "b 3 3"]  # output offset from the centre -> input offset, z y x voxels
    drawn: Bool[Tensor, "b 6"]  # which of INTENSITIES happen
    amount: Float[Tensor, "b 6"]  # their parameters, drawn whether they happen or not
    noise_seed: Int[Tensor, " b"]


def draw(
    probabilities: Float[Tensor, " b"],
    crop: tuple[int, int, int],
    margin: int,
    generator: torch.Generator,
    affine_probability: float = AFFINE_PROBABILITY,
) -> Augmentation:
    """Draw the augmentation of a batch of `len(probabilities)` samples.

    `probabilities` (CPU) holds each sample's chance of every single change of intensity, `crop`
    the output size in voxels (z, y, x), `margin` the voxels that the input has more per axis,
    `affine_probability` a sample's chance of being deformed. The same number of values is taken
    from `generator` (CPU) whatever happens. Raises ValueError when a probability lies outside
    0..1 or `margin` is negative.
    """
    if margin < 0:
        raise ValueError(f"margin must be 0 or more voxels, not {margin}")
    if ((probabilities < 0) | (probabilities > 1)).any():
        raise ValueError(f"probabilities must lie in 0..1, not {probabilities.tolist()}")
    batch = len(probabilities)

    def uniform(bounds: tuple[float, float], *columns: int) -> Tensor:
        return torch.empty(batch, *columns).uniform_(*bounds, generator=generator)

    scale, rotation, shear = uniform(SCALE, 3), uniform(ROTATION_DEGREES, 3), uniform(SHEAR, 6)
    amounts = {
        "multiply": uniform(MULTIPLY),
        "add": torch.randn(batch, generator=generator) * ADD_STD,
        "gamma": uniform(GAMMA),
        "contrast": uniform(CONTRAST),
        "blur": uniform(BLUR_SIGMA),
        "noise": uniform(NOISE_STD),
    }
    return Augmentation(
        crop=crop,
        margin=margin,
        # ASSUME: every corner is equally likely; the released code never takes the last one.
        start=torch.randint(0, margin + 1, (batch, 3), generator=generator),
        affine=torch.rand(batch, generator=generator) < affine_probability,
        matrix=affine_matrix(scale, rotation.deg2rad(), shear),
        drawn=torch.rand(batch, len(INTENSITIES), generator=generator) < probabilities[:, None],
        amount=torch.stack([amounts[name] for name in INTENSITIES], dim=1),
        noise_seed=torch.randint(0, 2**62, (batch,), generator=generator),
    )


def affine_matrix(
    scale: Float[Tensor, "b 3"], rotation: Float[Tensor, "b 3"], shear: Float[Tensor, "b 6"]
) -> Float[Tensor, "b 3 3"]:
    """Rotation after scale and shear: Rx Ry Rz (scale + shear), in z, y, x voxel coordinates.

    `rotation` is in radians about the z, y and x axis; `shear` fills the off-diagonal entries
    row by row. The matrix maps offsets in the output to offsets in the input.
    """
    matrix = torch.diag_embed(scale)
    matrix[:, ~torch.eye(3, dtype=torch.bool)] = shear
    for angle, (i, j) in zip(rotation.unbind(1), ((1, 2), (0, 2), (0, 1)), strict=True):
        turn = torch.eye(3).repeat(len(angle), 1, 1)
        turn[:, i, i] = turn[:, j, j] = angle.cos()
        turn[:, i, j], turn[:, j, i] = -angle.sin(), angle.sin()
        matrix = turn @ matrix
    return matrix


def apply(
    augmentation: Augmentation,
    image: Float[Tensor, "b 1 d0 h0 w0"],
    label: UInt8[Tensor, "b d0 h0 w0"],
) -> tuple[Float[Tensor, "b 1 d h w"], UInt8[Tensor, "b d h w"]]:
    """Augment a batch on its own device; ValueError when its size is not the one drawn for."""
    expected = (len(augmentation.affine), *(n + augmentation.margin for n in augmentation.crop))
    if tuple(label.shape) != expected:
        raise ValueError(f"drawn for crops of {expected} (b, z, y, x), given {tuple(label.shape)}")
    samples = [_apply_one(augmentation, i, image[i, 0], label[i]) for i in range(len(image))]
    images, labels = zip(*samples, strict=True)
    return torch.stack(images).unsqueeze(1), torch.stack(labels)


def _apply_one(
    augmentation: Augmentation, i: int, volume: Tensor, label: Tensor
) -> tuple[Tensor, Tensor]:
    """Augment sample `i`: [d0 h0 w0] -> [d h w]; what is only cropped stays a view."""
    if augmentation.affine[i]:
        matrix = augmentation.matrix[i].to(volume.device)
        points = sample_points(matrix, tuple(label.shape), augmentation.crop)
        volume, label = trilinear(volume, points), nearest(label, points)
    else:
        corner = zip(augmentation.start[i].tolist(), augmentation.crop, strict=True)
        window = tuple(slice(start, start + size) for start, size in corner)
        volume, label = volume[window], label[window]
    drawn = dict(zip(INTENSITIES, augmentation.drawn[i].tolist(), strict=True))
    amount = dict(zip(INTENSITIES, augmentation.amount[i].tolist(), strict=True))
    for name, change in CHANGES.items():
        if drawn[name]:
            volume = change(volume, amount[name])
    if drawn["noise"]:
        volume = noise(volume, amount["noise"], int(augmentation.noise_seed[i]))
    return volume, label


def sample_points(
    matrix: Float[Tensor, "3 3"], size: tuple[int, ...], crop: tuple[int, int, int]
) -> Float[Tensor, "d h w 3"]:
    """Where each voxel of the centre `crop` is read in the input of `size` (z, y, x).

    Input voxel indices in the order x, y, z, as `grid_sample` wants; the middle stays put.
    """
    rows = matrix.flip(0)  # x, y, z
    middle = rows.new_tensor([(n - 1) / 2 for n in reversed(size)])
    z, y, x = (
        torch.arange(c, device=matrix.device) + ((n - c) // 2 - (n - 1) / 2)
        for n, c in zip(size, crop, strict=True)
    )
    plane = z[:, None, None] * rows[:, 0] + (y[:, None] * rows[:, 1] + middle)  # d h 3
    return plane[:, :, None] + x[:, None] * rows[:, 2]


def trilinear(
    volume: Float[Tensor, "d0 h0 w0"], points: Float[Tensor, "d h w 3"]
) -> Float[Tensor, "d h w"]:
    """Read `volume` at `points` (voxel indices x, y, z) by trilinear interpolation, 0 outside."""
    size = points.new_tensor(volume.shape[::-1])
    grid = torch.addcmul(1 / size - 1, points, 2 / size)  # grid_sample: -1..1 edge to edge
    return F.grid_sample(volume[None, None], grid[None], align_corners=False)[0, 0]


def nearest(
    label: UInt8[Tensor, "d0 h0 w0"], points: Float[Tensor, "d h w 3"]
) -> UInt8[Tensor, "d h w"]:
    """Read `label` at the voxel nearest to each of `points` (x, y, z), 0 outside, as bytes."""
    padded = F.pad(label, (1,) * 6)  # a border of background answers for all that lies outside
    index = torch.zeros(points.shape[:-1], dtype=torch.int32, device=label.device)
    for size, coordinate in zip(padded.shape, reversed(points.unbind(-1)), strict=True):
        voxel = coordinate.round().add_(1).clamp_(0, size - 1).to(torch.int32)
        index.mul_(size).add_(voxel)
    return padded.flatten().index_select(0, index.flatten()).view(index.shape)


def multiply(volume: Float[Tensor, "d h w"], factor: float) -> Float[Tensor, "d h w"]:
    """Multiply every voxel by `factor`."""
    return volume * factor


def add(volume: Float[Tensor, "d h w"], offset: float) -> Float[Tensor, "d h w"]:
    """Add `offset` to every voxel."""
    return volume + offset


def gamma(volume: Float[Tensor, "d h w"], exponent: float) -> Float[Tensor, "d h w"]:
    """Raise the volume, taken to 0..1, to `exponent`; then restore its mean and deviation."""
    low, high = torch.aminmax(volume)
    mean, spread = volume.mean(), torch.linalg.vector_norm(volume - volume.mean())
    eps = torch.finfo(volume.dtype).eps  # a constant volume stays what it is
    curve = (volume - low).div_((high - low).clamp_min(eps)).pow_(exponent)
    curve -= curve.mean()
    return curve.mul_(spread / torch.linalg.vector_norm(curve).clamp_min(eps)).add_(mean)


def contrast(volume: Float[Tensor, "d h w"], factor: float) -> Float[Tensor, "d h w"]:
    """Stretch the volume about its mean by `factor`, clipped to the range that it had."""
    low, high = torch.aminmax(volume)
    mean = volume.mean()
    return (volume - mean).mul_(factor).add_(mean).clamp_(low, high)


def blur(volume: Float[Tensor, "d h w"], sigma: float) -> Float[Tensor, "d h w"]:
    """Gaussian blur of `sigma` voxels, 0 outside: per axis a few shifted and weighted sums.

    The kernel reaches ceil(3 sigma) voxels to each side and sums to 1.
    """
    reach = math.ceil(3 * sigma)
    weights = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(reach + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    for axis, size in enumerate(volume.shape):
        result = volume * (weights[0] / total)
        for k in range(1, min(reach, size - 1) + 1):
            for source, target in ((0, k), (k, 0)):
                shifted = volume.narrow(axis, source, size - k)
                result.narrow(axis, target, size - k).add_(shifted, alpha=weights[k] / total)
        volume = result
    return volume


def noise(volume: Float[Tensor, "d h w"], std: float, seed: int) -> Float[Tensor, "d h w"]:
    """Add Gaussian noise of `std`, the field that `seed` gives on the volume's device.

    ASSUME: fields made on CPU and GPU may differ; on one kind of device a replay is exact.
    """
    generator = torch.Generator(volume.device).manual_seed(seed)
    return torch.empty_like(volume).normal_(0, std, generator=generator).add_(volume)


CHANGES: dict[str, Callable[[Tensor, float], Tensor]] = {  # in the published order
    "multiply": multiply,
    "add": add,
    "gamma": gamma,
    "contrast": contrast,
    "blur": blur,
}
INTENSITIES = (*CHANGES, "noise")  # the columns of Augmentation.drawn and .amount
