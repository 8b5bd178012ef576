"""Read one case as the converter does, write nothing, and say what was seen."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage

from hermes.card_check.layout import Job
from hermes.config.schema import Card
from hermes.convert.examine import Examined, Step, examine
from hermes.convert.find import Case
from hermes.convert.images import read_volume
from hermes.convert.raw import CaseError, plain
from hermes.convert.sources import Sources
from hermes.files.volume import Volume, VolumeError
from hermes.jobs.pool import run_cases


@dataclass(frozen=True)
class ImageFacts:
    """What an image is. Sizes and spacings are canonical, (z, y, x)."""

    axes: str  # of the file, such as "LPS"
    file_size: tuple[int, ...]  # z, y, x of the file
    size: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    low: float  # smallest value
    high: float


@dataclass(frozen=True)
class Peek:
    """What a reference holds that could not be used as labels."""

    low: float
    high: float
    whole: bool
    same_size: bool


@dataclass
class Scan:
    """One case: whether it can be used, and what was seen up to where it could not."""

    case: Case
    step: Step | Literal["files"] = "files"  # where it failed; "": it can be used
    reason: str = ""
    image: ImageFacts | None = None
    dimensions: int = 3  # of a NIfTI file that is no volume
    values: dict[int, int] | None = None  # published value -> voxels; None: no reference read
    peek: Peek | None = None
    doubt: str = ""  # what its header leaves open
    skewed: bool = False  # its axes are not at right angles
    warnings: list[str] = field(default_factory=list)  # the converter's others

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return float(np.prod(self.image.spacing_mm)) / 1000 if self.image else 0.0


def scan_all(card: Card, jobs: Sequence[Job], workers: int) -> list[Scan]:
    """Read every case, with a bar on a terminal; scans in the order of the jobs."""
    by_name = {job.case.name: job for job in jobs}
    outcomes = run_cases(partial(scan, card), by_name, workers, f"read {card.name}", ())
    return [o.found or Scan(by_name[o.case].case, "image", o.reason) for o in outcomes]


def scan(card: Card, job: Job) -> Scan:
    """Check one case in a worker; what no check foresaw is told as the converter tells it."""
    seen = Scan(job.case, reason=job.reason)
    if job.sources is None:
        return seen
    found = Examined()
    try:
        examine(job.case, card, job.sources, found)
    except (CaseError, VolumeError) as error:
        seen.reason = plain(str(error), job.sources.root)
    except Exception as error:  # a reader met what no check foresaw: name the case and go on
        seen.reason = plain(f"unexpected {type(error).__name__}: {error}", job.sources.root)
    seen.step, seen.values = found.step, found.values
    seen.doubt, seen.skewed, seen.warnings = found.doubt, found.skewed, found.remarks
    if found.image and found.native:
        seen.image = _facts(found.native, found.image)
    if seen.reason:
        _explain(seen, job.sources)
    return seen


def _explain(seen: Scan, sources: Sources) -> None:
    """Look again at a file that was refused."""
    if seen.step == "image" and seen.case.image.format == "nifti":
        seen.dimensions = _dimensions(sources)
    if seen.step == "label" and seen.case.image.label.format == "nifti":
        seen.peek = _peek(seen, sources)


def _facts(native: Volume, image: Volume) -> ImageFacts:
    return ImageFacts(
        axes=native.axcodes,
        file_size=native.array.shape,
        size=image.array.shape,
        spacing_mm=image.spacing_mm,
        low=float(image.array.min()),
        high=float(image.array.max()),
    )


def _peek(seen: Scan, sources: Sources) -> Peek | None:
    """Look again at a NIfTI reference that was refused."""
    try:
        array = read_volume(sources.label_paths()[0], None).array
    except (VolumeError, OSError):
        return None
    return Peek(
        low=float(array.min()),
        high=float(array.max()),
        whole=bool(np.array_equal(np.rint(array), array)),
        same_size=seen.image is not None and array.shape == seen.image.file_size,
    )


def _dimensions(sources: Sources) -> int:
    try:
        image = nib.load(sources.image_paths()[0])
        return len(image.shape) if isinstance(image, SpatialImage) else 0
    except Exception:  # whatever is wrong with the file, its reader has said it
        return 0
