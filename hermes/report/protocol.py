"""The protocol in force, point by point, beside what the published code does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TEST_CROP = {
    "none": "all of every test scan is predicted",
    "image": "the body's box, found in the image, {margin} voxels around, is predicted",
    "reference": "the reference segmentation's box, {margin} voxels around, is predicted: it leaks "
    "the answer",
}
SPLIT = {
    "paper": "the paper's rule, as on each card: {how}",
    "reference": "the published code's lists, where they hold the dataset; else its card's rule",
}
MODALITY_NAMES = {
    "ct": "CT",
    "pet": "PET",
    "t1": "T1",
    "t2": "T2",
    "cine": "cine",
    "unknown": "other MR",
}

PUBLISHED_SPACING_MM = 1.5
PUBLISHED_WINDOWS = {"ct": {"clip": [-991, 500]}}
PUBLISHED_WINDOW = {"percentiles": [2, 98]}  # of every other modality


@dataclass(frozen=True)
class Point:
    """One decision: what is done here, what the published code does, and whether they agree.

    `published` is empty and `same` None where the published code has no such point.
    """

    name: str
    here: str
    published: str
    same: bool | None


def window_text(window: Mapping) -> str:
    """A window in words."""
    if window.get("clip"):
        low, high = window["clip"]
        return f"clipped to {low:g} and {high:g} HU"
    low, high = window["percentiles"]
    return f"percentiles {low:g} and {high:g} of the image"


def points(
    protocol: Mapping,
    preprocess: Mapping,
    datasets: Sequence[str],
    modalities: Sequence[str],
    drawn: Sequence[str],
) -> list[Point]:
    """The points of a study's protocol.

    Args:
        protocol: `split`, `test_crop`, `test_crop_margin`, `seed`, `nsd_tolerance_mm`.
        preprocess: the study's section.
        datasets: of the study.
        modalities: that occur in them.
        drawn: datasets of which the rule draws patients; the others' subsets are given.
    """
    cropped = [name for name in datasets if name in preprocess["body_crop"]]
    spacing = preprocess["spacing_mm"]
    grid = {name: spacing.get(name, spacing.get("default")) for name in datasets}
    return [
        Point(
            "Split",
            SPLIT[protocol["split"]].format(how=_drawn(datasets, drawn, protocol["seed"])),
            "its own lists of cases",
            protocol["split"] == "reference",
        ),
        Point(
            "Test scans",
            _test_text(protocol, cropped, datasets),
            "the box of the reference segmentation, 20 voxels around",
            protocol["test_crop"] == "reference"
            and protocol["test_crop_margin"] == 20
            and not cropped,
        ),
        Point(
            "Training grid",
            _grid_text(grid),
            f"{PUBLISHED_SPACING_MM:g} mm isotropic",
            set(grid.values()) == {PUBLISHED_SPACING_MM},
        ),
        Point("Stored part", _stored_text(cropped, datasets), "", None),
        *_native_z(preprocess, datasets),
        *(_window(preprocess["intensity"], modality) for modality in modalities),
        Point(
            "Scores",
            f"on the training grid, for the paper's numbers, and beside it on the scans' own grid; "
            f"NSD within {protocol['nsd_tolerance_mm']:g} mm",
            "on the cropped 1.5 mm grid",
            False,
        ),
    ]


def _drawn(datasets: Sequence[str], drawn: Sequence[str], seed: int) -> str:
    """Where chance has a part in the split, and where it has none."""
    given = [name for name in datasets if name not in drawn]
    if not drawn:
        return "its subsets are given, nothing is drawn"
    text = f"drawn with the seed {seed}"
    return f"{text}; the subsets of {', '.join(given)} are given" if given else text


def _test_text(protocol: Mapping, cropped: Sequence[str], datasets: Sequence[str]) -> str:
    """What is predicted of a test scan, also where no more than the body's box is stored."""
    crop = protocol["test_crop"]
    text = TEST_CROP[crop].format(margin=protocol["test_crop_margin"])
    if not cropped:
        return text
    names, all_cropped = ", ".join(cropped), len(cropped) == len(datasets)
    if crop == "reference":
        return f"{text}; in {names} as far as the stored body's box reaches"
    if all_cropped:
        return "the stored part of every test scan, the body's box, is predicted"
    return f"{text}, but in {names} the stored part, the body's box"


def _stored_text(cropped: Sequence[str], datasets: Sequence[str]) -> str:
    if not cropped:
        return "the whole scan"
    box = "the body's box, found in the image"
    if len(cropped) == len(datasets):
        return box
    return f"the whole scan; in {', '.join(cropped)} {box}"


def _grid_text(grid: Mapping[str, float]) -> str:
    usual = max(set(grid.values()), key=list(grid.values()).count)
    others = [f"{name} {mm:g} mm" for name, mm in grid.items() if mm != usual]
    return f"{usual:g} mm isotropic" + (f"; {', '.join(others)}" if others else "")


def _native_z(preprocess: Mapping, datasets: Sequence[str]) -> list[Point]:
    """The slice spacing of AutoPET, and of what else is left as it is."""
    kept = [name for name in preprocess["keep_native_z"] if name in datasets]
    if not kept and "autopet" not in datasets:
        return []
    here = f"left as it is in {', '.join(kept)}" if kept else "resampled in every dataset"
    return [Point("Slice spacing", here, "left as it is in AutoPET", kept == ["autopet"])]


def _window(intensity: Mapping, modality: str) -> Point:
    published = PUBLISHED_WINDOWS.get(modality, PUBLISHED_WINDOW)
    window = {key: list(value) for key, value in intensity[modality].items() if value}
    return Point(
        f"Grey values, {MODALITY_NAMES.get(modality, modality)}",
        f"{window_text(window)}, then z-score of the whole image",
        f"{window_text(published)}, then z-score",
        window == published,
    )
