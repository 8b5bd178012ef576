"""Small folders of scans that a card is held against, and what the check says of them."""

import fabricate
import numpy as np

from hermes.config.registry import Structure

STRUCTURES = {
    name: Structure(name, name, "Abdomen", "organ", "#aa0000") for name in ("liver", "spleen")
}
NIFTI = {
    "pattern": "images/{case}.nii.gz",
    "label": {"format": "nifti", "path": "labels/{case}.nii.gz"},
}


def plain_label(label, number):
    return label


def fill(raw, image="images/img{:04d}.nii.gz", label="labels/img{:04d}.nii.gz", cases=6, **how):
    """Cases with image and reference; `make_image` and `make_label` change an array by number."""
    grey, classes = fabricate.anatomy()
    make_image = how.get("make_image", plain_label)
    make_label = how.get("make_label", plain_label)
    for number in range(1, cases + 1):
        fabricate.save_nifti(raw / image.format(number), make_image(grey + number, number))
        if label:
            values = make_label(fabricate.published(classes), number)
            fabricate.save_nifti(raw / label.format(number), values)
    return raw


def problems(report):
    return [finding for finding in report.findings if finding.problem]


def only_problem(report):
    (finding,) = problems(report)
    assert not report.fits
    assert report.verdict.startswith("The card does not fit yet: 1 problem")
    return finding


def shares(label, number):
    return (label > 0) * np.float32(0.7)


def grey_values(label, number):
    return fabricate.anatomy()[0]
