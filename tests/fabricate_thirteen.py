"""Small raw trees of the thirteen datasets: each laid out as published, with its traps and junk.

Here is what all use and the datasets of one file per scan; `fabricate_series` has the others. Value
k of a published label is `names[k - 1]`; nothing here comes from the cards.
"""

from dataclasses import dataclass, field
from pathlib import Path

import fabricate
import numpy as np

SIZE = (12, 14, 16)
"""Voxels z y x of most volumes."""

ABDOMEN = (
    "spleen right_kidney left_kidney gallbladder esophagus liver stomach aorta inferior_vena_cava"
).split()
BCV = [*ABDOMEN, "portal_and_splenic_vein", "pancreas", "right_adrenal_gland", "left_adrenal_gland"]
AMOS = [*ABDOMEN, "pancreas", "right_adrenal_gland", "left_adrenal_gland"]
AMOS = [*AMOS, "duodenum", "bladder", "prostate_or_uterus"]
THORAX = "left_lung right_lung heart esophagus trachea spinal_cord".split()
HEAD = (
    "brain_stem left_eye right_eye left_lens right_lens left_optic_nerve right_optic_nerve "
    "optic_chiasm left_temporal_lobe right_temporal_lobe pituitary left_parotid right_parotid "
    "left_inner_ear right_inner_ear left_middle_ear right_middle_ear left_tmj right_tmj "
    "spinal_cord left_mandible right_mandible"
).split()
SIDES = {"spleen": "left", "liver": "right", "gallbladder": "right"}
APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "


@dataclass
class Expected:
    """One case as it must come out. Arrays are canonical (z, y, x), values published ones."""

    image: np.ndarray
    label: np.ndarray
    spacing_mm: tuple[float, float, float]
    patient: str
    subset: str = ""
    modality: str = "ct"
    warnings: str = "^$"  # regular expression


@dataclass
class Tree:
    """What a raw folder holds: cases by name, rejected ones with a pattern of their reason."""

    names: list[str]
    cases: dict[str, Expected] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)


def body(names: list[str], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Image int16 and published label [z, y, x], LPS: each structure a box on its side."""
    _, height, width = SIZE
    z, y, x = np.indices(SIZE)
    image = (10 * z + 3 * y + x + seed).astype(np.int16)
    label = np.zeros(SIZE, np.uint8)
    for k, name in enumerate(names):
        row, column = divmod(k, 5)
        side = SIDES.get(name, name.split("_")[0])
        low = {"right": 2, "left": width - 5}.get(side, width // 2 - 2)
        label[1 + 2 * column : 3 + 2 * column, 2 + 2 * row : 4 + 2 * row, low : low + 3] = k + 1
    image += np.where(label, 400 + 150 * (7 * label.astype(np.int16) % 23), 0).astype(np.int16)
    air = (x < 1) | (x > width - 2) | (y < 1) | (y > height - 2)
    image[air] = -1000
    return image, label


def affine_of(spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """LPS affine with its origin away from zero."""
    z, y, x = spacing_mm
    affine = np.diag([-x, -y, z, 1.0])
    affine[:3, 3] = 90.5, 120.25, -300
    return affine


def save(path: Path, array: np.ndarray, spacing_mm, axes: str) -> None:
    """Write a canonical array as a file of another orientation."""
    fabricate.save_nifti(path, *fabricate.in_orientation(array, axes, affine_of(spacing_mm)))


def junk(raw: Path, *paths: str) -> None:
    """Files that are no data, though some are named like data."""
    for path in paths:
        (raw / path).parent.mkdir(parents=True, exist_ok=True)
        (raw / path).write_bytes(APPLE_DOUBLE)


def bcv(raw: Path) -> Tree:
    """Without right kidney and gallbladder in one patient; a label that is missing."""
    tree, spacing, folder = Tree(BCV), (3.0, 0.76, 0.76), raw / "RawData/Training"
    for number in ("0001", "0022", "0040"):
        image, label = body(BCV, int(number))
        if number == "0022":
            label[(label == 2) | (label == 4)] = 0
        save(folder / f"img/img{number}.nii.gz", image, spacing, "LAS")
        save(folder / f"label/label{number}.nii.gz", label, spacing, "LAS")
        tree.cases[f"img{number}"] = Expected(image, label, spacing, f"img{number}")
    (folder / "label/label0040.nii.gz").unlink()
    del tree.cases["img0040"]
    tree.rejected["img0040"] = r"reference .*label0040\.nii\.gz: no such file"
    save(raw / "RawData/Testing/img/img0061.nii.gz", image, spacing, "LAS")
    junk(raw, "RawData/Training/img/.DS_Store", "RawData/Training/img/._img0001.nii.gz")
    return tree


def amos(raw: Path, part: str) -> Tree:
    """CT below number 500, MR from there; MR has bladder and prostate in its training part only."""
    tree = Tree(AMOS if part == "ct" else AMOS[:13])
    spacing = (5.0, 0.69, 0.69)
    for number, folder in ((1, "Tr"), (499, "Va"), (500, "Tr"), (599, "Va")):
        scan = "ct" if number < 500 else "mr"
        image, label = body(AMOS if number < 599 else AMOS[:13], number)
        name = f"amos_{number:04d}"
        save(raw / f"amos22/images{folder}/{name}.nii.gz", image, spacing, "LAS")
        save(raw / f"amos22/labels{folder}/{name}.nii.gz", label, spacing, "LAS")
        if scan == part:
            subset = {"Tr": "train", "Va": "test"}[folder]
            modality = {"ct": "ct", "mr": "unknown"}[scan]
            tree.cases[name] = Expected(image, label, spacing, name, subset, modality)
    save(raw / "amos22/imagesTs/amos_0101.nii.gz", image, spacing, "LAS")
    junk(raw, "__MACOSX/amos22/imagesTr/._amos_0001.nii.gz", "amos22/dataset.json")
    junk(raw, "__MACOSX/amos22/imagesTr/amos_0009.nii.gz", "amos22/labelsTr/._amos_0500.nii.gz")
    return tree


def lits(raw: Path) -> Tree:
    """The original files: headers that say nothing, labels with headers and axes of their own."""
    tree = Tree(["liver", "liver_tumor"])
    image, label = _liver()
    spacing = (1.0, 0.77, 0.77)

    def add(number: int, axes: str, header=None, label_header=None, drawn=label, **told) -> None:
        stored, affine = fabricate.in_orientation(image, axes, affine_of(spacing))
        drawing = fabricate.in_orientation(drawn, axes, affine_of(spacing))[0]
        affine = affine if header is None else header
        fabricate.save_nifti(raw / f"volume-{number}.nii", stored, affine)
        label_header = affine if label_header is None else label_header
        fabricate.save_nifti(raw / f"segmentation-{number}.nii", drawing, label_header)
        case = f"volume-{number}"
        tree.cases[case] = Expected(image, drawn, spacing, case) if not told else Expected(**told)

    identity, known = np.eye(4), {"label": label, "image": image}
    add(0, "LPS", drawn=np.minimum(label, 1))
    guessed = r"^identity affine: the spacing of 1.7 1 1 mm \(z y x\) is the card's, .* and left "
    guessed += "and right are borne out by the side of liver$"
    known |= {"patient": "volume-28", "spacing_mm": (1.7, 1, 1)}
    add(28, "RAS", header=identity, **known, warnings=guessed)
    # stored with x to the left and y to the back, which an identity says the other way round
    turned = {name: known[name][:, ::-1, ::-1] for name in ("image", "label")}
    told = r"2.5 1 1 mm .* and the side of liver contradicts its orientation; liver lies on .*left"
    add(31, "LPS", header=identity, patient="volume-31", spacing_mm=(2.5, 1, 1), **turned)
    tree.cases["volume-31"].warnings = told
    add(27, "RAS", header=identity)
    del tree.cases["volume-27"]
    tree.rejected["volume-27"] = (
        "affine is the identity, .* no spacing for number 27 .*true spacing"
    )
    add(33, "LAS")  # in the table, with a header that someone mended
    add(48, "LAS", label_header=np.diag([0.77, 0.77, 1, 1]))
    # the label's slices lie the other way round, and no header tells
    add(52, "LAS", drawn=label[::-1])
    tree.cases["volume-52"].warnings = "fits the image better with head and foot exchanged"
    junk(raw, "._volume-0.nii", ".DS_Store")
    return tree


def _liver() -> tuple[np.ndarray, np.ndarray]:
    """A liver on the right with a tumour inside."""
    image, label = body([])
    label[2:9, 3:10, 2:7] = 1
    label[4:6, 5:7, 4:6] = 2
    image[label > 0] += 300
    image[label > 1] -= 150
    return image, label


def decathlon_liver(raw: Path) -> Tree:
    """The same images as `lits`, as the Decathlon stores them: other axes, floats, true headers."""
    tree, spacing = Tree(["liver", "liver_tumor"]), (1.0, 0.77, 0.77)
    image, label = _liver()
    for number in (0, 28):
        values = np.minimum(label, 1) if number == 0 else label
        stored = image.astype(np.float32)
        save(raw / f"imagesTr/liver_{number}.nii.gz", stored, spacing, "RAS")
        save(raw / f"labelsTr/liver_{number}.nii.gz", values.astype(np.float32), spacing, "RAS")
        name = f"volume-{number}"
        tree.cases[name] = Expected(image, values, spacing, name)
    save(raw / "imagesTs/liver_132.nii.gz", image, spacing, "RAS")
    junk(raw, "imagesTr/._liver_0.nii.gz", "labelsTr/._liver_0.nii.gz", "dataset.json")
    return tree


def kits(raw: Path, resampled: bool = False) -> Tree:
    """Slices come first in the file; a label of the resampled branch beside an original image."""
    tree = Tree(["kidney", "kidney_tumor"])
    for number in range(6):
        case, folder = f"case_{number:05d}", raw / f"data/case_{number:05d}"
        spacing = (3.0, 0.78, 0.78) if resampled else (0.5 + number, 0.5, 0.44 + 0.1 * number)
        image, label = body(["left_kidney", "right_kidney"], number)
        save(folder / "imaging.nii.gz", image, spacing, "IPL")
        if number == 5 and not resampled:
            save(folder / "segmentation.nii.gz", label[::2], (3.0, 0.78, 0.78), "IPL")
            tree.rejected[case] = r"segmentation\.nii\.gz: size \(6, 14, 16\).* image has \(12, 14"
            continue
        save(folder / "segmentation.nii.gz", label, spacing, "IPL")
        tree.cases[case] = Expected(image, label, spacing, case)
    save(raw / "data/case_00210/imaging.nii.gz", image, spacing, "IPL")  # without a segmentation
    junk(raw, "data/kits.json", "data/.DS_Store", "LICENSE")
    return tree


def structseg(raw: Path, folder: str, names: list[str], prefix: str, axes: str) -> Tree:
    """Numbered folders; one label is mirrored; the other two tasks lie beside."""
    tree, spacing = Tree(names), (5.0, 1.17, 1.17)
    for number in (1, 2, 10):
        image, label = body(names, number)
        if number == 10:
            label = label[:, :, ::-1]
        save(raw / f"{folder}/{number}/data.nii.gz", image, spacing, axes)
        save(raw / f"{folder}/{number}/label.nii.gz", label.astype(np.float64), spacing, axes)
        case = f"{prefix}_{number}"
        tree.cases[case] = Expected(image, label, spacing, case)
    lateral = [name for name in names if name.startswith("left_")]
    tree.cases[case].warnings = "; ".join(
        f"{name} lies on the patient's right.*" for name in lateral
    )
    save(raw / "Lung_GTV/1/data.nii.gz", image, spacing, axes)
    junk(raw, f"{folder}/.DS_Store", f"{folder}/1/._data.nii.gz")
    return tree


def segthor(raw: Path, root: str = "train") -> Tree:
    """Four organs are drawn, the aorta is left out."""
    tree, spacing = Tree(["esophagus", "heart", "trachea"]), (2.5, 0.98, 0.98)
    for number in (1, 40):
        image, label = body([*tree.names, "aorta"], number)
        case = f"Patient_{number:02d}"
        save(raw / f"{root}/{case}/{case}.nii.gz", image, spacing, "RPS")
        save(raw / f"{root}/{case}/GT.nii.gz", label, spacing, "RPS")
        tree.cases[case] = Expected(image, label, spacing, case)
    save(raw / "test/Patient_41.nii.gz", image, spacing, "RPS")
    return tree


def msd_pancreas(raw: Path) -> Tree:
    """Images for testing and resource forks lie beside."""
    tree, spacing = Tree(["pancreas", "pancreas_tumor"]), (2.5, 0.8, 0.8)
    for number in (1, 421):
        image, label = body(tree.names, number)
        case = f"pancreas_{number:03d}"
        save(raw / f"imagesTr/{case}.nii.gz", image.astype(np.float32), spacing, "RAS")
        save(raw / f"labelsTr/{case}.nii.gz", label, spacing, "RAS")
        tree.cases[case] = Expected(image, label, spacing, case)
    save(raw / "imagesTs/pancreas_002.nii.gz", image, spacing, "RAS")
    junk(raw, "imagesTr/._pancreas_001.nii.gz", "dataset.json")
    return tree
