"""Augmentation of one crop: ours, step by step as published, and other libraries'.

    python benchmarks/augment.py --threads 1 --repeats 7

Every contestant does the same work on the CPU: rotate, scale and crop the centre (image
trilinear, label nearest), gamma 1.2 keeping mean and deviation where it can, blur of 0.75
voxels, noise. In turns; the best of the repeats counts. `typical` is ours with a batch of two
as training draws it (affine 0.5, intensities 0.1), the mean over many draws.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hermes.train import augment

SIZES = {"published": (128, 30), "phantom": (32, 8)}  # crop, margin, voxels
CHANGES = ("gamma", "blur", "noise")
GAMMA, SIGMA, NOISE, SCALE, DEGREES = 1.2, 0.75, 0.05, 1.1, 15.0
Work = Callable[[], object]


def hermes(image: Tensor, label: Tensor, crop: int, margin: int) -> Work:
    drawn = augment.draw(torch.zeros(1), (crop,) * 3, margin, torch.Generator().manual_seed(0))
    happens = torch.tensor([[name in CHANGES for name in augment.INTENSITIES]])
    amount = torch.tensor([[1.0, 0.0, GAMMA, 1.0, SIGMA, NOISE]])
    turn = torch.full((1, 3), DEGREES).deg2rad()
    matrix = augment.affine_matrix(torch.full((1, 3), SCALE), turn, torch.zeros(1, 6))
    always = torch.ones(1, dtype=torch.bool)
    drawn = replace(drawn, affine=always, matrix=matrix, drawn=happens, amount=amount)
    return lambda: augment.apply(drawn, image, label)


def published(image: Tensor, label: Tensor, crop: int, margin: int) -> Work:
    """Deform the whole input, crop after it, blur with one dense kernel."""
    turn = torch.full((1, 3), DEGREES).deg2rad()
    matrix = augment.affine_matrix(torch.full((1, 3), SCALE), turn, torch.zeros(1, 6)).flip(1, 2)
    theta = torch.cat([matrix, torch.zeros(1, 3, 1)], dim=2)
    line = torch.exp(-0.5 * (torch.arange(-3, 4) / SIGMA) ** 2)
    kernel = line[:, None, None] * line[:, None] * line
    kernel = (kernel / kernel.sum())[None, None]
    inner = (..., *(slice(margin // 2, margin // 2 + crop),) * 3)

    def work() -> tuple[Tensor, Tensor]:
        grid = F.affine_grid(theta, list(image.shape), align_corners=True)
        mask = F.grid_sample(label[None].float(), grid, mode="nearest", align_corners=True)[inner]
        x = F.grid_sample(image, grid, align_corners=True)[inner].contiguous()
        low, high, mean, std = x.min(), x.max(), x.mean(), x.std()
        x = ((x - low) / (high - low)) ** GAMMA * (high - low) + low
        x = (x - x.mean()) / x.std() * std + mean
        x = F.conv3d(x, kernel, padding=3)
        return x + torch.randn(x.shape) * NOISE, mask.contiguous().long()

    return work


def torchio(image: Tensor, label: Tensor, crop: int, margin: int) -> Work:
    import torchio as tio

    chain = tio.Compose(
        [
            tio.Affine((SCALE,) * 3, (DEGREES,) * 3, (0.0,) * 3, default_pad_value=0.0),
            tio.Crop(margin // 2),
            tio.Gamma(GAMMA),
            tio.Blur((SIGMA,) * 3),
            tio.Noise(0.0, NOISE, 0),
        ]
    )
    subject = tio.Subject(image=tio.ScalarImage(tensor=image[0]), label=tio.LabelMap(tensor=label))
    return lambda: chain(subject)


def batchgeneratorsv2(image: Tensor, label: Tensor, crop: int, margin: int) -> Work:
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

    angle, scale = np.deg2rad(DEGREES), (SCALE, SCALE)
    chain = ComposeTransforms(
        [
            SpatialTransform(
                *((crop,) * 3, 0, False),
                p_rotation=1,
                rotation=(angle, angle),
                p_scaling=1,
                scaling=scale,
                mode_seg="nearest",
            ),
            GammaTransform((GAMMA, GAMMA), 0, True, 1, 1),
            GaussianBlurTransform((SIGMA, SIGMA), True, True),
            GaussianNoiseTransform((NOISE, NOISE)),
        ]
    )
    return lambda: chain(image=image[0].clone(), segmentation=label.to(torch.int16))


def monai(image: Tensor, label: Tensor, crop: int, margin: int) -> Work:
    from monai import transforms

    turn, keys = (np.deg2rad(DEGREES),) * 3, ["image", "label"]
    chain = transforms.Compose(
        [
            transforms.Affined(
                keys,
                rotate_params=turn,
                scale_params=(SCALE,) * 3,
                spatial_size=(crop,) * 3,
                mode=["bilinear", "nearest"],
                padding_mode="zeros",
            ),
            transforms.AdjustContrastd("image", GAMMA, retain_stats=True),
            transforms.GaussianSmoothd("image", SIGMA),
            transforms.RandGaussianNoised("image", 1.0, std=NOISE, sample_std=False),
        ]
    )
    return lambda: chain({"image": image[0], "label": label})


def best_ms(contestants: dict[str, Work], repeats: int) -> dict[str, float]:
    """The shortest run of each, all in turns; a first run of each does not count."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats + 1):
        for name, work in contestants.items():
            start = time.perf_counter()
            work()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: min(values[1:]) for name, values in times.items()}


def typical_ms(crop: int, margin: int, draws: int = 40) -> float:
    """Mean time of `apply` for a batch of two, as training draws it."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 1, *(crop + margin,) * 3, generator=generator)
    label = (image[:, 0] > 1).to(torch.uint8)
    total = 0.0
    for _ in range(draws):
        drawn = augment.draw(torch.full((2,), 0.1), (crop,) * 3, margin, generator)
        start = time.perf_counter()
        augment.apply(drawn, image, label)
        total += time.perf_counter() - start
    return 1e3 * total / draws


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name, (crop, margin) in SIZES.items():
        image = torch.randn(1, 1, *(crop + margin,) * 3)
        label = torch.randint(0, 23, image.shape[1:], dtype=torch.uint8)
        contestants, missing = {}, []
        for build in (hermes, published, torchio, batchgeneratorsv2, monai):
            try:
                contestants[build.__name__] = build(image, label, crop, margin)
            except ModuleNotFoundError as error:
                missing.append(f"  {build.__name__:<18} not installed ({error.name})")
        times = best_ms(contestants, options.repeats)
        print(f"{name}: {crop + margin}^3 -> {crop}^3, {options.threads} thread(s)")
        for contestant, ms in times.items():
            print(f"  {contestant:<18} {ms:9.2f} ms  {ms / times['hermes']:5.2f} x")
        print("\n".join([*missing, f"  typical batch of 2 {typical_ms(crop, margin):9.2f} ms"]))


if __name__ == "__main__":
    main()
