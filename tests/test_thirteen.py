"""The thirteen datasets convert with their own cards from trees that hold their traps."""

import re
import shutil
from pathlib import Path

import fabricate
import fabricate_series as series
import fabricate_thirteen as thirteen
import numpy as np
import pytest

from hermes.config.registry import load_card

CARDS = Path(__file__).parent.parent / "config" / "datasets"


TREES = {
    "bcv": thirteen.bcv,
    "lits": thirteen.lits,
    "kits": thirteen.kits,
    "amos_ct": lambda raw: thirteen.amos(raw, "ct"),
    "amos_mr": lambda raw: thirteen.amos(raw, "mr"),
    "ss_t": lambda raw: thirteen.structseg(raw, "Thoracic_OAR", thirteen.THORAX, "thorax", "RPI"),
    "ss_h": lambda raw: thirteen.structseg(raw, "HaN_OAR", thirteen.HEAD, "han", "RAS"),
    "chaos": series.chaos,
    "mnms": series.mnms,
    "dlbs": series.dlbs,
    "autopet": series.autopet,
    "segthor": thirteen.segthor,
    "msd_pancreas": thirteen.msd_pancreas,
}


def convert(folder, name, make):
    """Write a raw tree and convert it with the card of a dataset."""
    tree = make(folder / "raw")
    return tree, fabricate.convert(folder / "raw", CARDS / f"{name}.yaml")


def check(name, tree, done):
    """Every case, voxel by voxel; every rejection by its reason."""
    card = load_card(CARDS / f"{name}.yaml")
    assert set(done.cases) == set(tree.cases)
    assert set(done.rejected) == set(tree.rejected)
    for case, reason in tree.rejected.items():
        assert re.search(reason, done.rejected[case]), done.rejected[case]
    for case, expected in tree.cases.items():
        row, label = done.cases[case], done.label(case)
        assert np.array_equal(done.image(case), expected.image), case
        for value, structure in enumerate(tree.names, start=1):
            ours = card.structures.index(structure) + 1
            assert np.array_equal(label == ours, expected.label == value), (case, structure)
        present = [s for s in card.structures if (expected.label == tree.names.index(s) + 1).any()]
        assert row["structures"] == ",".join(present)
        assert np.allclose(
            [float(mm) for mm in row["spacing_mm"].split()], expected.spacing_mm, atol=1e-3
        )
        told = (row["patient"], row["subset"], row["modality"])
        assert told == (expected.patient, expected.subset, expected.modality)
        assert re.search(expected.warnings, row["warnings"]), (case, row["warnings"])


@pytest.mark.parametrize("name", TREES)
def test_dataset_with_every_trap(tmp_path, name):
    tree, done = convert(tmp_path, name, TREES[name])
    check(name, tree, done)
    names = {path.name for path in done.out.iterdir() if path.is_file()}
    assert all(re.fullmatch(r"[A-Za-z0-9._+-]+", name) for name in names)
    assert names == {f"{c}{end}" for c in tree.cases for end in (".nii.gz", "_label.nii.gz")}


def test_names_count_the_classes_of_the_cards():
    for name, names in {
        "bcv": thirteen.BCV,
        "ss_h": thirteen.HEAD,
        "ss_t": thirteen.THORAX,
    }.items():
        assert set(load_card(CARDS / f"{name}.yaml").structures) == set(names)
    assert set(load_card(CARDS / "amos_ct.yaml").structures) == set(thirteen.AMOS)


VARIANTS = {
    "lits, the Decathlon's copy": ("lits", thirteen.decathlon_liver),
    "dlbs, a folder around": ("dlbs", lambda raw: series.dlbs(raw, "brains")),
    "autopet, a folder around": (
        "autopet",
        lambda raw: series.autopet(raw, "FDG-PET-CT-Lesions"),
    ),
    "segthor, the redistribution": ("segthor", lambda raw: thirteen.segthor(raw, "SegTHOR")),
    "mnms, a table saved anew": ("mnms", lambda raw: series.mnms(raw, delimiter=";")),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_other_layouts_of_the_same_dataset(tmp_path, variant):
    name, make = VARIANTS[variant]
    tree, done = convert(tmp_path, name, make)
    check(name, tree, done)


def test_both_copies_of_lits_are_one_scan_by_content(tmp_path):
    """Other axes, floats for integers: the hash of the voxels is the same, where headers are true.

    Where the original's header says nothing its orientation is a guess, here a right one.
    """
    _, original = convert(tmp_path / "original", "lits", thirteen.lits)
    _, copy = convert(tmp_path / "copy", "lits", thirteen.decathlon_liver)
    for case in ("volume-0", "volume-28"):
        ours, theirs = original.cases[case], copy.cases[case]
        assert ours["native_axes"] != theirs["native_axes"] or case == "volume-28"
        assert ours["image_sha256"] == theirs["image_sha256"]
        assert ours["label_sha256"] == theirs["label_sha256"]
    wrongly_guessed = original.cases["volume-31"]
    assert wrongly_guessed["image_sha256"] != copy.cases["volume-28"]["image_sha256"]


def test_both_copies_of_lits_in_one_folder_are_compared(tmp_path):
    """The Decathlon's are converted; what only the original has is converted from it."""
    original = thirteen.lits(tmp_path / "raw")
    tree, done = convert(tmp_path, "lits", thirteen.decathlon_liver)
    assert set(done.cases) == set(original.cases)
    for case, expected in tree.cases.items():
        row = done.cases[case]
        assert row["source"] == f"imagesTr/{case.replace('volume-', 'liver_')}.nii.gz"
        assert row["warnings"] == f"also there as {case}.nii: equal voxels"
        assert np.array_equal(done.image(case), expected.image)
    assert done.cases["volume-33"]["source"] == "volume-33.nii"
    assert "also there" not in done.cases["volume-33"]["warnings"]


def test_copies_of_lits_that_differ_are_told_apart(tmp_path):
    raw = tmp_path / "raw"
    thirteen.lits(raw)
    thirteen.decathlon_liver(raw)
    image, label = thirteen.body([])
    thirteen.save(raw / "imagesTr/liver_28.nii.gz", image + np.int16(1), (1, 0.77, 0.77), "RAS")
    thirteen.save(raw / "labelsTr/liver_0.nii.gz", label + np.uint8(1), (1, 0.77, 0.77), "RAS")
    for kind in ("imagesTr", "labelsTr"):
        shutil.copy(raw / kind / "liver_28.nii.gz", raw / kind / "liver_33.nii.gz")
        shutil.copy(raw / kind / "liver_28.nii.gz", raw / kind / "liver_48.nii.gz")
    (raw / "segmentation-33.nii").unlink()
    (raw / "volume-48.nii").write_bytes(b"not a scan")
    done = fabricate.convert(raw, CARDS / "lits.yaml")
    told = {case: row["warnings"].split("also there as ")[-1] for case, row in done.cases.items()}
    assert told["volume-0"] == "volume-0.nii: equal image, other reference"
    assert told["volume-28"] == (
        "volume-28.nii: other voxels, as its header leaves its orientation open"
    )
    unusable = ", which cannot be used: "
    assert told["volume-33"].startswith(f"volume-33.nii{unusable}reference segmentation: ")
    assert told["volume-48"].startswith(f"volume-48.nii{unusable}volume-48.nii: not a NIfTI file")
    assert not any(str(tmp_path) in text for text in told.values())


def test_a_changed_copy_is_compared_again(tmp_path):
    raw = tmp_path / "raw"
    thirteen.lits(raw)
    _, done = convert(tmp_path, "lits", thirteen.decathlon_liver)
    image, _ = thirteen.body([])
    thirteen.save(raw / "volume-0.nii", image + np.int16(1), (1, 0.77, 0.77), "LPS")
    again = fabricate.convert(raw, CARDS / "lits.yaml")
    assert again.cases["volume-0"]["warnings"] == "also there as volume-0.nii: other voxels"
    assert again.cases["volume-28"] == done.cases["volume-28"]


def test_resampled_copy_of_kits_is_found_out(tmp_path, caplog):
    tree, done = convert(tmp_path, "kits", lambda raw: thirteen.kits(raw, resampled=True))
    check("kits", tree, done)
    assert any("kits: all 6 cases have the spacing 3 0.78 0.78" in m for m in caplog.messages)


def test_original_kits_is_not_taken_for_a_resampled_copy(tmp_path, caplog):
    convert(tmp_path, "kits", thirteen.kits)
    assert not any("have the spacing" in message for message in caplog.messages)


def test_table_of_mnms_that_counts_from_one_says_so(tmp_path):
    _, done = convert(tmp_path, "mnms", lambda raw: series.mnms(raw, counted_from=1))
    for code in ("A0S9V9", "B1T2U3", "C3W4X5"):
        assert "the table seems to count from 1, not from 0" in done.rejected[f"{code}_ED"]


def test_slices_first_files_are_turned_by_their_affine(tmp_path):
    _, done = convert(tmp_path, "kits", thirteen.kits)
    row = done.cases["case_00000"]
    assert (row["native_axes"], row["native_size"]) == ("I,P,L", "12 14 16")
    assert row["size"] == "12 14 16"


def test_phases_of_chaos_share_an_identifier(tmp_path):
    """Both phases come out, though one SeriesInstanceUID names them."""
    pydicom = pytest.importorskip("pydicom")
    _, done = convert(tmp_path, "chaos", series.chaos)
    folder = tmp_path / "raw/Train_Sets/MR/1/T1DUAL/DICOM_anon"
    files = [next((folder / phase).glob("IMG*")) for phase in ("InPhase", "OutPhase")]
    assert len({pydicom.dcmread(path).SeriesInstanceUID for path in files}) == 1
    assert np.array_equal(done.image("mr_1_t1_in") + 5, done.image("mr_1_t1_out"))
