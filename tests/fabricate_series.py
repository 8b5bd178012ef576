"""Raw trees of the datasets that are series, frames, probability maps and studies: see
`fabricate_thirteen`."""

import csv
import io
from pathlib import Path

import fabricate
import numpy as np
from fabricate_thirteen import Expected, Tree, affine_of, body, junk, save

CHAOS_GREY = np.array([0, 63, 126, 189, 252], np.uint8)


def chaos(raw: Path) -> Tree:
    """Names that run up or down the body, unpadded ones, a shared identifier, a reversed stack."""
    tree = Tree(["liver", "right_kidney", "left_kidney", "spleen"])
    for patient, up in ((1, True), (13, False)):
        folder = raw / f"Train_Sets/MR/{patient}"
        image, label = body(tree.names, patient)
        count = len(image)
        order = range(count) if up else range(count - 1, -1, -1)
        phases = {"InPhase": (image, 2), "OutPhase": (image + 5, 1)}
        for phase, (pixels, first) in phases.items():
            names = [f"IMG-0004-{2 * k + first:05d}.dcm" for k in order]
            fabricate.save_series(folder / "T1DUAL/DICOM_anon" / phase, pixels, names)
        for k, n in enumerate(order):
            grey = CHAOS_GREY[label[k]]
            fabricate.save_png(folder / f"T1DUAL/Ground/IMG-0004-{2 * n + 2:05d}.png", grey)
            # patient 13's T2 pictures were numbered from the other end than their slices
            n2 = n if patient == 1 else count - 1 - n
            fabricate.save_png(folder / f"T2SPIR/Ground/IMG-2-{n2 + 1}.png", grey)
        names = [f"IMG-2-{n + 1}.dcm" for n in order]
        fabricate.save_series(folder / "T2SPIR/DICOM_anon", image + 9, names)
        about = {"spacing_mm": (3.0, 1.5, 2.0), "patient": f"mr_{patient}"}
        case = f"mr_{patient}"
        tree.cases[f"{case}_t1_in"] = Expected(image, label, **about, modality="t1")
        tree.cases[f"{case}_t1_out"] = Expected(image + 5, label, **about, modality="t1")
        tree.cases[f"{case}_t2"] = Expected(image + 9, label, **about, modality="t2")
    tree.cases["mr_13_t2"].label = label[::-1]
    tree.cases["mr_13_t2"].warnings = "fits the image better with head and foot exchanged"
    junk(raw, "Train_Sets/MR/1/T1DUAL/DICOM_anon/InPhase/.DS_Store", "__MACOSX/Train_Sets/._MR")
    junk(raw, "Train_Sets/MR/1/T2SPIR/DICOM_anon/._IMG-2-1.dcm", "Train_Sets/CT/1/readme.txt")
    junk(
        raw, "Train_Sets/MR/1/T2SPIR/DICOM_anon/Thumbs.db", "Train_Sets/MR/1/T2SPIR/Ground/._a.png"
    )
    return tree


MNMS_TABLE = "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv"


def mnms(raw: Path, counted_from: int = 0, delimiter: str = ",") -> Tree:
    """4D files with skewed directions; a patient that the table lacks, one it names wrongly."""
    tree, spacing = Tree(["left_ventricle", "myocardium", "right_ventricle"]), (10.0, 1.25, 1.25)
    table = [["", "External code", "VendorName", "Vendor", "Centre", "ED", "ES"]]
    where = {"A0S9V9": "Training/Labeled", "B1T2U3": "Validation", "C3W4X5": "Testing"}
    where |= {"D5E6F7": "Testing", "G7H8J9": "Testing"}
    crooked = affine_of(spacing)
    crooked[1, 0] = 0.03
    for code, part in where.items():
        image, label = body(["left_ventricle", "myocardium", "right_ventricle"])
        frames = np.stack([image + 100 * t for t in range(4)])
        drawn = np.stack([0 * label, label, 0 * label, np.roll(label, 1, axis=1)])
        stem = raw / part / code / f"{code}_sa"
        fabricate.save_nifti(stem.with_name(f"{code}_sa.nii.gz"), frames, crooked)
        fabricate.save_nifti(stem.with_name(f"{code}_sa_gt.nii.gz"), drawn, crooked)
        shift = counted_from + (code == "D5E6F7")
        if code != "G7H8J9":
            table.append([len(table) - 1, code, "Siemens", "A", 1, 1 + shift, 3 + shift])
        for frame, t in (("ED", 1), ("ES", 3)):
            subset = "train" if part.startswith("Training") else "test"
            told = "^axes .* degrees off the right angle: straightened$"
            case = Expected(frames[t], drawn[t], spacing, code, subset, "cine", told)
            tree.cases[f"{code}_{frame}"] = case
    reasons = {
        "D5E6F7_ED": r"frame 2, .* as ED, holds no reference, but 1, 3 .*frame 1 does: .*from 1,",
        "D5E6F7_ES": r"has no frame 4; choose from 0 to 3",
        "G7H8J9_ED": r"opendataset\.csv: 0 rows for 'G7H8J9' in its column 'External code'",
        "G7H8J9_ES": "0 rows for 'G7H8J9'",
    }
    for case, reason in reasons.items():
        tree.rejected[case] = reason
        del tree.cases[case]
    save(raw / "Training/Unlabeled/E6H7J8/E6H7J8_sa.nii.gz", image, spacing, "LPS")
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(table)
    (raw / MNMS_TABLE).write_text(text.getvalue(), encoding="utf-8-sig")
    return tree


def dlbs(raw: Path, root: str = "") -> Tree:
    """Probability maps from 0 to 1 or to 255; other cohorts beside; a folder around, or none."""
    tree, spacing = Tree(["gray_matter", "white_matter", "csf"]), (1.0, 1.0, 1.0)
    parts = {"train": "train", "valid": "val", "test": "test"}
    for number, (part, subset) in enumerate(parts.items()):
        for name in (f"dlbs_002857{number}", f"ixi_00{number}", f"sald_03176{number}"):
            image, label = body(tree.names, number)
            brain = np.where(label, image, 0).astype(np.float32)
            folder = raw / root / part
            save(folder / f"image/{name}_img.nii", brain, spacing, "RAS")
            for k, matter in enumerate(("graymatter", "whitematter", "csf"), start=1):
                share = np.where(label == k, 1.0, 0.2 * (label > 0)).astype(np.float32)
                if part != "train":
                    kind = np.uint8 if part == "valid" else np.int16
                    share = np.rint(255 * share).astype(kind)
                save(folder / f"mask/{name}_probmask_{matter}.nii", share, spacing, "RAS")
            if name.startswith("dlbs"):
                tree.cases[name] = Expected(brain, label, spacing, name, subset, "t1")
    return tree


AUTOPET_STUDIES = {
    "PETCT_0011f3deaf/03-23-2003-NA-PET-CT Ganzkoerper  primaer mit KM-42966": (
        "PETCT_0011f3deaf_03-23-2003-NA-PET-CT_Ganzkoerper__primaer_mit_KM-42966"
    ),
    "PETCT_0011f3deaf/04-01-2005-NA-PET & CT (Verlauf), 'Kopf' 50%-2": (
        "PETCT_0011f3deaf_04-01-2005-NA-PET___CT__Verlauf____Kopf__50_-2"
    ),
    "PETCT_01140d52d8/08-13-2005-NA-Ganzkörper-56839": (
        "PETCT_01140d52d8_08-13-2005-NA-Ganzk_rper-56839"
    ),
}
"""Folder of a study -> name of its case."""


def autopet(raw: Path, root: str = "") -> Tree:
    """Several studies of a patient, one without a lesion, names with blanks and worse."""
    tree, spacing = Tree(["lesion"]), (3.0, 2.04, 2.04)
    for number, (study, case) in enumerate(AUTOPET_STUDIES.items()):
        image, label = body(["lesion"], number)
        suv = np.maximum(image, 0) * np.float32(0.013)
        label = label if number else 0 * label
        folder = raw / root / study
        save(folder / "SUV.nii.gz", suv, spacing, "LAS")
        save(folder / "SEG.nii.gz", label, spacing, "LAS")
        for other in ("CT", "CTres", "PET"):
            save(folder / f"{other}.nii.gz", image, spacing, "LAS")
        patient = study.split("/")[0]
        tree.cases[case] = Expected(suv, label, spacing, patient, modality="pet")
    return tree
