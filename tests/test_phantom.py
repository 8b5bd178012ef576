"""The phantom: same seed same bytes, real layouts, published values, anatomy on the right side."""

import csv
import json
import re
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

import hermes.phantom as phantom
from hermes.phantom.anatomy import anatomy
from hermes.phantom.combine import Common, Grown, Paired, Shell, Union, Without
from hermes.phantom.imaging import gradient_echo, spin_echo
from hermes.phantom.patient import Disease, make_patient
from hermes.phantom.protocols import PROTOCOLS
from hermes.phantom.render import Grid, Warp, paint
from hermes.phantom.shapes import Ellipsoid, HalfSpace, Points, Stack, Tube
from hermes.phantom.structure import Body, Structure
from hermes.phantom.tissues import TISSUES

COARSE = dict.fromkeys(PROTOCOLS, 11.0) | {"ss_h": 4.0, "mnms": 4.0, "dlbs": 5.0, "autopet": 5.0}
COUNT = dict.fromkeys(PROTOCOLS, 2) | {"autopet": 4, "dlbs": 5, "mnms": 5, "amos_mr": 4}

TREES = {
    "bcv": ["RawData/Training/img/img0001.nii.gz", "RawData/Training/label/label0001.nii.gz"],
    "ss_t": ["Thoracic_OAR/1/data.nii.gz", "Thoracic_OAR/2/label.nii.gz"],
    "ss_h": ["HaN_OAR/1/data.nii.gz", "HaN_OAR/2/label.nii.gz"],
    "lits": ["volume-0.nii", "segmentation-1.nii"],
    "kits": ["data/case_00000/imaging.nii.gz", "data/case_00001/segmentation.nii.gz"],
    "amos_ct": [
        "amos22/imagesTr/amos_0001.nii.gz",
        "amos22/labelsTr/amos_0001.nii.gz",
        "amos22/imagesVa/amos_0004.nii.gz",
        "amos22/labelsVa/amos_0004.nii.gz",
        "__MACOSX/amos22/imagesTr/._amos_0001.nii.gz",
    ],
    "amos_mr": ["amos22/imagesTr/amos_0500.nii.gz", "amos22/labelsVa/amos_0509.nii.gz"],
    "chaos": [
        "Train_Sets/MR/1/T1DUAL/DICOM_anon/InPhase/IMG-0004-00002.dcm",
        "Train_Sets/MR/1/T1DUAL/DICOM_anon/OutPhase/IMG-0004-00001.dcm",
        "Train_Sets/MR/1/T1DUAL/Ground/IMG-0004-00002.png",
        "Train_Sets/MR/2/T2SPIR/DICOM_anon/IMG-0002-00001.dcm",
        "Train_Sets/MR/2/T2SPIR/Ground/IMG-0002-00001.png",
    ],
    "mnms": ["211230_M&Ms_Dataset_information_diagnosis_opendataset.csv"],
    "autopet": [],
    "dlbs": [
        "train/image/dlbs_28000_img.nii",
        "train/mask/dlbs_28000_probmask_graymatter.nii",
        "train/mask/dlbs_28000_probmask_whitematter.nii",
        "train/mask/dlbs_28000_probmask_csf.nii",
        "train/image/ixi_002_img.nii",
        "valid/image/dlbs_28051_img.nii",
        "test/image/dlbs_28068_img.nii",
    ],
    "segthor": ["train/Patient_01/Patient_01.nii.gz", "train/Patient_02/GT.nii.gz"],
    "msd_pancreas": ["imagesTr/pancreas_001.nii.gz", "labelsTr/pancreas_002.nii.gz"],
}


def make(folder: Path, name: str, **changes) -> Path:
    """Write one tiny dataset; return its raw folder."""
    raw = folder / name
    arguments = {
        "dataset": name,
        "raw": raw,
        "manifest": folder / f"{name}.json",
        "patients": COUNT[name],
        "seed": 3,
        "voxel_scale": COARSE[name],
    }
    phantom.run(**(arguments | changes))
    return raw


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Folder with all thirteen datasets, tiny."""
    folder = tmp_path_factory.mktemp("raw")
    for dataset in PROTOCOLS:
        make(folder, dataset)
    return folder


def pairs(tree: Path, dataset: str) -> list[tuple[Path, Path]]:
    """Image and label of every NIfTI pair of a dataset."""
    image_of = {
        "bcv": ("RawData/Training/label/*", "/label", "/img"),
        "ss_t": ("Thoracic_OAR/*/label.nii.gz", "label", "data"),
        "ss_h": ("HaN_OAR/*/label.nii.gz", "label", "data"),
        "lits": ("segmentation-*", "segmentation", "volume"),
        "kits": ("data/*/segmentation.nii.gz", "segmentation", "imaging"),
        "amos_ct": ("amos22/labels*/*", "labels", "images"),
        "amos_mr": ("amos22/labels*/*", "labels", "images"),
        "mnms": ("[TV]*/**/*_sa_gt.nii.gz", "_gt", ""),
        "autopet": ("*/*/SEG.nii.gz", "SEG", "SUV"),
        "segthor": ("train/*/GT.nii.gz", None, None),
        "msd_pancreas": ("labelsTr/*", "labels", "images"),
    }
    pattern, old, new = image_of[dataset]
    found = []
    for label in sorted((tree / dataset).glob(pattern)):
        if old is None:
            image = label.with_name(f"{label.parent.name}.nii.gz")
        else:
            image = tree / dataset / str(label.relative_to(tree / dataset)).replace(old, new)
        if dataset == "bcv":
            image = tree / "bcv/RawData/Training/img" / label.name.replace("label", "img")
        found.append((image, label))
    return found


def centroid(label: nibabel.Nifti1Image, value: int) -> np.ndarray:
    """Centre of a label in world coordinates (RAS, mm)."""
    index = np.argwhere(np.asarray(label.dataobj) == value).mean(axis=0)
    return label.affine[:3, :3] @ index + label.affine[:3, 3]


def sphere(radius: float) -> Ellipsoid:
    return Ellipsoid((0, 0, 0), (radius, radius, radius))


def at(shape, *where: tuple[float, float, float]) -> np.ndarray:
    """Values of a shape at some points."""
    x, y, z = (np.array(axis, np.float32)[None, None] for axis in zip(*where, strict=True))
    return shape(Points(x, y, z)).ravel()


def test_distances_of_a_sphere_and_a_tube_are_exact():
    where = [(0, 0, 12), (0, 5, 0), (20, 0, 0)]
    assert at(sphere(10), *where) == pytest.approx([2, -5, 10], abs=1e-3)
    tube = Tube([(0, 0, 0, 4), (0, 0, 50, 4)], 5)
    assert at(tube, (0, 6, 25), (1, 0, 10), (0, 0, 57)) == pytest.approx([2, -3, 3], abs=1e-3)


def test_stack_follows_its_rows():
    cone = Stack([(0, 0, 0, 10, 10), (100, 0, 0, 20, 20)])
    assert at(cone, (10, 0, 0.2), (20, 0, 99.5)) == pytest.approx([0, 0], abs=0.15)
    assert at(cone, (0, 0, 104)) == pytest.approx([4], abs=1e-3)


def test_combinations_do_what_they_say():
    ball, half = sphere(10), HalfSpace((0, 0, 0), (0, 0, 1))
    below, above = (0, 0, -4), (0, 0, 4)
    assert (at(Common([ball, half]), below, above) < 0).tolist() == [True, False]
    assert (at(Without(ball, [half]), below, above) < 0).tolist() == [False, True]
    assert at(Grown(ball, 3), (0, 0, 12)) == pytest.approx([-1], abs=1e-3)
    assert (at(Shell(ball, 2), (0, 0, 9), (0, 0, 7)) < 0).tolist() == [True, False]
    side = Paired(Ellipsoid((20, 0, 0), (5, 5, 5)))
    assert (at(side, (20, 0, 0), (-20, 0, 0), (0, 0, 0)) < 0).tolist() == [True, True, False]
    apart = Union([Ellipsoid((-6, 0, 0), (5, 5, 5)), Ellipsoid((6, 0, 0), (5, 5, 5))], blend=12)
    assert at(apart, (0, 0, 0))[0] < 0, "a blend bridges the gap"


def test_painted_sphere_has_its_volume_and_soft_edge():
    affine = np.diag([-2.0, -2.0, 2.0, 1.0])
    affine[:3, 3] = 31, 31, -31
    grid = Grid(affine, (32, 32, 32))
    still = Warp(np.ones(3), np.zeros(3), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    ball = Structure(("ball",), sphere(20), "liver")
    channels, top = paint([ball], grid, still, lambda tissue: (1.0,), (0.0,))
    volume = 4 / 3 * np.pi * 20**3
    assert np.count_nonzero(top == 1) * 8 == pytest.approx(volume, rel=0.02)
    assert channels[0].sum() * 8 == pytest.approx(volume, rel=0.02)
    assert np.any((channels[0] > 0.1) & (channels[0] < 0.9)), "partial volume at the surface"


def test_sixty_structures_answer_to_every_published_label():
    names = {name for s in anatomy(Body()) for name in s.names}
    tumours = {"liver_tumor", "kidney_tumor", "pancreas_tumor", "lesion"}
    wanted = {name for protocol in PROTOCOLS.values() for name in protocol.labels}
    assert wanted - tumours <= names
    assert len(anatomy(Body())) > 100, "and much that no dataset labels"


def test_disease_comes_and_goes_with_its_probability():
    ill = make_patient(1, "lits", 0, Disease(1, 1, 1, 1, 1, 1))
    well = make_patient(1, "lits", 0, Disease())
    names = [{n for s in p.structures for n in s.names} for p in (ill, well)]
    gained = {"liver_tumor", "kidney_tumor", "pancreas_tumor", "lesion"}
    assert gained <= names[0] and not gained & names[1]
    assert {"gallbladder", "right_kidney"} <= names[1] - names[0]


def test_contrasts_order_tissues_as_a_radiologist_expects():
    t = TISSUES
    t1 = gradient_echo(160, 2.3, 75)
    t2 = spin_echo(2200, 75, fat=0.15)
    assert t1(t["fat"]) > t1(t["liver"]) > t1(t["spleen"]) > t1(t["csf"])
    assert t2(t["bile"]) > t2(t["spleen"]) > t2(t["liver"]) > t2(t["fat"])
    assert t["gray_matter"].suv > t["liver"].suv > t["fat"].suv
    opposed = gradient_echo(160, 1.15, 75, in_phase=False)
    assert opposed(t["fat"]) < 0 < opposed(t["liver"])


@pytest.mark.parametrize("dataset", PROTOCOLS)
def test_tree_has_the_published_layout_and_a_true_manifest(tree, dataset):
    manifest = json.loads((tree / f"{dataset}.json").read_text())
    paths = [entry["path"] for entry in manifest["files"]]
    assert manifest["dataset"] == dataset and manifest["source"] == "phantom"
    assert set(TREES[dataset]) <= set(paths)
    assert paths == sorted(paths)
    for entry in manifest["files"]:
        assert (tree / dataset / entry["path"]).stat().st_size == entry["bytes"]
    assert not [path for path in tree.iterdir() if path.name.startswith(".")], "leftovers"


@pytest.mark.parametrize("dataset", ["bcv", "mnms", "chaos", "dlbs"])
def test_same_seed_same_bytes_and_another_seed_others(tmp_path, dataset):
    written = []
    for seed in (3, 3, 4):
        make(tmp_path, dataset, patients=1, seed=seed)
        written.append((tmp_path / f"{dataset}.json").read_text())
    assert written[0] == written[1] != written[2]


@pytest.mark.slow
def test_two_workers_write_the_same_bytes_as_one(tree, tmp_path):
    make(tmp_path, "kits", workers=2)
    assert (tmp_path / "kits.json").read_bytes() == (tree / "kits.json").read_bytes()


@pytest.mark.parametrize("dataset", [d for d in PROTOCOLS if d not in ("chaos", "dlbs")])
def test_label_and_image_share_a_grid_and_published_values(tree, dataset):
    found = pairs(tree, dataset)
    assert found
    seen: set[int] = set()
    for image_path, label_path in found:
        image, label = nibabel.load(image_path), nibabel.load(label_path)
        assert image.shape == label.shape
        np.testing.assert_allclose(image.affine, label.affine, atol=1e-4)
        assert label.get_data_dtype() == np.uint8
        assert image.get_data_dtype() == (np.float32 if dataset == "autopet" else np.int16)
        seen |= set(np.unique(np.asarray(label.dataobj)).tolist())
    assert seen <= {0, *PROTOCOLS[dataset].labels.values()}
    assert len(seen) >= 0.9 * len(PROTOCOLS[dataset].labels)


@pytest.mark.parametrize("dataset", ["bcv", "amos_ct", "amos_mr"])
def test_organs_lie_on_their_side_whatever_the_orientation(tree, dataset):
    values = PROTOCOLS[dataset].labels
    codes = set()
    for _, path in pairs(tree, dataset):
        label = nibabel.load(path)
        codes.add("".join(nibabel.aff2axcodes(label.affine)))
        liver, spleen = (centroid(label, values[n]) for n in ("liver", "spleen"))
        assert liver[0] > spleen[0] + 50, "the liver is right of the spleen"
        left, right = (centroid(label, values[f"{side}_kidney"]) for side in ("left", "right"))
        assert right[0] > left[0] + 50
        assert centroid(label, values["aorta"])[1] > left[1] - 40, "and the aorta before the back"
    assert len(codes) > 1


def test_kits_arrays_lie_slices_first(tree):
    image = nibabel.load(tree / "kits/data/case_00000/imaging.nii.gz")
    assert nibabel.aff2axcodes(image.affine) == ("I", "P", "L")


def test_some_axes_are_oblique(tree):
    image = nibabel.load(next(tree.glob("mnms/Training/Labeled/*/*_sa.nii.gz")))
    assert np.count_nonzero(np.abs(image.affine[:3, :3]) > 0.1) > 5


def test_lits_48_has_a_label_with_a_wrong_header(tmp_path):
    raw = make(tmp_path, "lits", patients=8, voxel_scale=16)
    image, label = (nibabel.load(raw / f"{n}-48.nii") for n in ("volume", "segmentation"))
    assert image.shape == label.shape and not np.allclose(image.affine, label.affine)


def test_amos_mr_names_bladder_and_prostate_in_training_only(tree):
    def values(part: str) -> set[int]:
        files = (tree / "amos_mr/amos22").glob(f"labels{part}/*.nii.gz")
        return {int(v) for f in files for v in np.unique(np.asarray(nibabel.load(f).dataobj))}

    assert {14, 15} <= values("Tr")
    assert not {14, 15} & values("Va")


def test_half_of_the_autopet_studies_are_empty(tree):
    labels = [nibabel.load(path) for _, path in pairs(tree, "autopet")]
    empty = [not np.any(np.asarray(label.dataobj)) for label in labels]
    assert len(labels) == 5, "four patients, one of them twice"
    assert sum(empty) == 2
    folders = [path.parent.parent.name for _, path in pairs(tree, "autopet")]
    assert len(set(folders)) == 4 and all(re.fullmatch(r"PETCT_[0-9a-f]{10}", f) for f in folders)


def test_autopet_lesions_are_bright(tree):
    for image_path, label_path in pairs(tree, "autopet"):
        inside = np.asarray(nibabel.load(label_path).dataobj) > 0
        if inside.any():
            suv = np.asarray(nibabel.load(image_path).dataobj)
            assert suv[inside].mean() > 3 * np.median(suv[suv > 0.4])


def test_chaos_phases_share_a_series_and_differ(tree):
    base = tree / "chaos/Train_Sets/MR/1/T1DUAL/DICOM_anon"
    inside, outside = (
        [pydicom.dcmread(p) for p in sorted((base / d).iterdir())] for d in ("InPhase", "OutPhase")
    )
    assert len({ds.SeriesInstanceUID for ds in inside + outside}) == 1
    assert len({ds.SOPInstanceUID for ds in inside + outside}) == len(inside) + len(outside)
    assert [ds.ImagePositionPatient for ds in inside] == [ds.ImagePositionPatient for ds in outside]
    assert not np.array_equal(inside[9].pixel_array, outside[9].pixel_array)


def test_chaos_slices_run_either_way_and_masks_follow_the_names(tree):
    steps = []
    for patient in (1, 2):
        base = tree / f"chaos/Train_Sets/MR/{patient}/T1DUAL"
        slices = [pydicom.dcmread(p) for p in sorted((base / "DICOM_anon/InPhase").iterdir())]
        masks = [np.asarray(Image.open(p)) for p in sorted((base / "Ground").iterdir())]
        steps.append(slices[1].ImagePositionPatient[2] - slices[0].ImagePositionPatient[2])
        assert masks[0].shape == slices[0].pixel_array.shape and len(masks) == len(slices)
        stack = np.stack(masks)
        assert set(np.unique(stack)) == {0, 63, 126, 189, 252}
        liver, spleen = (np.argwhere(stack == v).mean(axis=0) for v in (63, 252))
        assert slices[0].ImageOrientationPatient[0] > 0.9 and liver[2] < spleen[2]
    assert steps[0] > 0 > steps[1]


def test_mnms_table_names_the_two_annotated_frames(tree):
    with open(tree / "mnms" / TREES["mnms"][0], encoding="utf-8") as handle:
        rows = {row["External code"]: row for row in csv.DictReader(handle)}
    labels = list((tree / "mnms").glob("[TV]*/**/*_sa_gt.nii.gz"))
    assert len(labels) == len(rows) == COUNT["mnms"]
    for path in labels:
        row = rows[path.name.split("_")[0]]
        label = np.asarray(nibabel.load(path).dataobj)
        annotated = [t for t in range(label.shape[3]) if label[..., t].any()]
        assert annotated == sorted([int(row["ED"]), int(row["ES"])])
        cavity = [np.count_nonzero(label[..., int(row[name])] == 1) for name in ("ED", "ES")]
        assert cavity[0] > 1.3 * cavity[1], "the heart is full at the end of diastole"
    assert {p.relative_to(tree / "mnms").parts[0] for p in labels} >= {"Training", "Validation"}


def test_dlbs_maps_are_probabilities_and_the_skull_is_gone(tree):
    base = tree / "dlbs/train"
    maps = [
        np.asarray(nibabel.load(base / f"mask/dlbs_28000_probmask_{m}.nii").dataobj)
        for m in ("graymatter", "whitematter", "csf")
    ]
    image = np.asarray(nibabel.load(base / "image/dlbs_28000_img.nii").dataobj)
    total = np.sum(maps, axis=0)
    assert total.max() <= 1 + 1e-5 and all(m.min() >= 0 for m in maps)
    assert np.all(image[total < 0.4] == 0) and np.all(image[total > 0.99] > 0)
    gray, white, csf = (image[m > 0.95].mean() for m in maps)
    assert white > gray > csf


def test_a_folder_made_before_is_replaced(tmp_path):
    raw = make(tmp_path, "msd_pancreas", voxel_scale=16)
    (raw / "stale").touch()
    make(tmp_path, "msd_pancreas", voxel_scale=16, patients=1)
    assert sorted(p.name for p in raw.iterdir()) == ["imagesTr", "labelsTr"]
    assert len(list((raw / "imagesTr").iterdir())) == 1


def test_impossible_wishes_are_refused(tmp_path):
    for wrong in ({"patients": 0}, {"patients": 31}, {"voxel_scale": 0.1}):
        with pytest.raises(phantom.PhantomError, match="bcv"):
            make(tmp_path, "bcv", **wrong)
    with pytest.raises(phantom.PhantomError, match="no phantom of 'bvc'"):
        phantom.run(
            dataset="bvc",
            raw=tmp_path / "a",
            manifest=tmp_path / "b",
            patients=1,
            seed=0,
            voxel_scale=9,
        )
    assert not list(tmp_path.iterdir())
