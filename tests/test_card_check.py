"""Check of a card: what does not fit is named with what to change, and the converter agrees."""

import fabricate
import numpy as np
import pytest
import yaml
from test_convert_bad_input import GOOD, tree  # noqa: F401  (a folder with every kind of bad case)

from hermes.card_check import check
from hermes.card_check.layout import lay_out
from hermes.card_check.listing import read_folder
from hermes.card_check.nearest import correct, pairs
from hermes.card_check.scan import scan, scan_all
from hermes.card_check.text import WIDTH, render
from hermes.new_card import draft
from hermes.registry import RegistryError, Structure, load_card, load_structures

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


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "raw"


@pytest.fixture
def card(tmp_path):
    return fabricate.write_card(tmp_path / "toy.yaml", [NIFTI])


def problems(report):
    return [finding for finding in report.findings if finding.problem]


def only_problem(report):
    (finding,) = problems(report)
    assert not report.fits
    assert report.verdict.startswith("The card does not fit yet: 1 problem")
    return finding


def test_a_card_that_fits_gets_a_verdict_and_nothing_is_written(raw, tmp_path):
    split = {"rule": "fraction", "train": 75, "val": 5, "test": 20}
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI], split=split)
    fill(raw)
    before = sorted(tmp_path.rglob("*"))
    report = check(card, raw, STRUCTURES, workers=2)
    assert report.fits
    assert not report.findings
    assert report.verdict == "The card fits: 6 cases, 2 structures."
    assert sorted(tmp_path.rglob("*")) == before
    lines = render(report).splitlines()
    assert lines[-1] == report.verdict
    assert "  split (fraction): 4 train, 1 val, 1 test (patients)" in lines
    assert "  spacing_mm         3, 1.5, 2" in lines
    liver = next(line.split() for line in lines if "liver" in line)
    _, classes = fabricate.anatomy()
    voxels = 6 * np.count_nonzero(classes == 1)
    assert liver[:4] == ["6", "liver", "6", str(voxels)]


@pytest.mark.parametrize(
    ("image", "pattern", "change"),
    [
        ("top/images/{:d}.nii.gz", "images/{case}.nii.gz", "top/images/{case}.nii.gz"),
        ("s{:d}/images/ct.nii.gz", "images/{case}.nii.gz", "{case}/images/ct.nii.gz"),
        ("s{:d}/images/{:d}.nii.gz", "images/{case}.nii.gz", "{folder}/images/{case}.nii.gz"),
        ("images/{:d}.nii", "images/{case}.nii.gz", "images/{case}.nii"),
        ("images/{:d}.nii.gz", "data/images/{case}.nii.gz", "images/{case}.nii.gz"),
        ("images/{:d}.nii.gz", "./images/{case}.nii.gz", "images/{case}.nii.gz"),
        ("Images/{:d}.nii.gz", "images/{case}.nii.gz", "Images/{case}.nii.gz"),
        ("images/p{:d}/ct.nii.gz", "images/{case}.nii.gz", "images/{case}/ct.nii.gz"),
        ("p{:d}/p{:d}.nii.gz", "{case}.nii.gz", "{case}/{case}.nii.gz"),
        ("imagesTr/{:d}.nii.gz", "imageTr/{case}.nii.gz", "imagesTr/{case}.nii.gz"),
        ("images/scan_{:d}.nii.gz", "images/img_{case}.nii.gz", "images/{case}.nii.gz"),
    ],
)
def test_a_pattern_that_misses_is_answered_with_one_that_fits(
    raw, tmp_path, image, pattern, change
):
    grey, _ = fabricate.anatomy()
    for number in (1, 2, 3):
        fabricate.save_nifti(raw / image.format(number, number), grey)
    source = {"pattern": pattern, "label": {"format": "none"}}
    card = fabricate.write_card(tmp_path / "toy.yaml", [source])
    finding = only_problem(check(card, raw, STRUCTURES))
    assert finding.what.startswith(f"{pattern}: matches no file; ")
    assert finding.change == f"pattern: {change} (matches 3)"
    fabricate.write_card(card, [source | {"pattern": change}])
    assert check(card, raw, STRUCTURES).fits


@pytest.mark.parametrize(
    ("label", "change"),
    [
        ("masks/img{:04d}.nii.gz", "label path: masks/{case}.nii.gz"),
        ("labels/img{:04d}.nii", "label path: labels/{case}.nii"),
        (
            "labels/seg{:04d}.nii.gz",
            "pattern: images/img{case}.nii.gz and label path: labels/seg{case}.nii.gz",
        ),
        ("labels/img{:d}.nii.gz", "rename the files, or link them"),
    ],
)
def test_references_elsewhere_are_answered_with_where_they_are(raw, card, label, change):
    finding = only_problem(check(card, fill(raw, label=label), STRUCTURES))
    assert "6 of 6 images without a reference: images/img0001.nii.gz needs" in finding.what
    assert finding.change == change


@pytest.mark.parametrize(
    ("folder", "pattern", "change"),
    [
        ("mr/{:d}/T2", "mr/{case}", "mr/{case}/T2"),
        ("mr/{:d}", "mr/{case}/T2", "mr/{case}"),
        ("top/mr/{:d}", "mr/{case}", "top/mr/{case}"),
    ],
)
def test_series_that_lie_in_another_folder(raw, tmp_path, folder, pattern, change):
    image, _ = fabricate.anatomy()
    for number in (1, 2):
        names = [f"s{k}.dcm" for k in range(len(image))]
        fabricate.save_series(raw / folder.format(number), image, names)
    source = {"pattern": pattern, "format": "dicom", "label": {"format": "none"}}
    card = fabricate.write_card(tmp_path / "toy.yaml", [source])
    assert only_problem(check(card, raw, STRUCTURES)).change == f"pattern: {change} (matches 2)"


def test_one_of_several_probability_maps_has_another_name(raw, tmp_path):
    fill(raw, label="maps/img{:04d}_liver.nii.gz", make_label=shares)
    fill(raw, label="maps/img{:04d}_spleen.nii.gz", make_label=shares)
    maps = {6: "maps/{case}_liver.nii.gz", 1: "maps/{case}_milt.nii.gz"}
    source = NIFTI | {"label": {"format": "probability", "maps": maps}}
    card = fabricate.write_card(tmp_path / "toy.yaml", [source])
    finding = only_problem(check(card, raw, STRUCTURES))
    assert "needs maps/img0001_milt.nii.gz, which is not there" in finding.what
    assert finding.change == "label path: maps/{case}_spleen.nii.gz"


def test_nnunet_names_differ_by_the_channel(raw, card):
    fill(raw, image="images/x_{:03d}_0000.nii.gz", label="labels/x_{:03d}.nii.gz")
    change = only_problem(check(card, raw, STRUCTURES)).change
    assert change == "pattern: images/{case}_0000.nii.gz and label path: labels/{case}.nii.gz"


def test_references_beside_their_images_are_no_images(raw, tmp_path):
    fill(raw, image="{:02d}.nii.gz", label="{:02d}_seg.nii.gz")
    source = {"pattern": "{case}.nii.gz", "label": NIFTI["label"] | {"path": "{case}_seg.nii.gz"}}
    card = fabricate.write_card(tmp_path / "toy.yaml", [source])
    report = check(card, raw, STRUCTURES)
    assert report.fits
    assert report.verdict.startswith("The card fits: 6 ")


def test_a_pattern_for_another_copy_is_no_problem(raw, tmp_path):
    other = {"pattern": "imagesTr/{case}.nii.gz", "label": {"format": "none"}}
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI, other])
    report = check(card, fill(raw), STRUCTURES)
    assert report.fits
    assert report.findings[0].what == "imagesTr/{case}.nii.gz: matches no file"


def test_numbers_that_leave_nothing_are_named(raw, tmp_path):
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI | {"numbers": [10, 20]}])
    finding = only_problem(check(card, fill(raw), STRUCTURES))
    assert "no case's last number lies in `numbers` [10, 20]" in finding.what


def test_two_images_of_one_name_are_named(raw, tmp_path):
    other = {"pattern": "b/{case}.nii.gz", "label": {"format": "none"}}
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI, other])
    fill(fill(raw), image="b/img{:04d}.nii.gz", label="")
    finding = only_problem(check(card, raw, STRUCTURES))
    assert finding.what.startswith("images/img0001.nii.gz and b/img0001.nii.gz both give the case")


def test_format_and_files_that_disagree(raw, tmp_path):
    source = {"pattern": "images/{case}.nii.gz", "format": "dicom", "label": {"format": "none"}}
    card = fabricate.write_card(tmp_path / "toy.yaml", [source])
    assert only_problem(check(card, fill(raw, label=""), STRUCTURES)).change == "format: nifti"


def test_values_are_held_against_the_card(raw, tmp_path):
    def with_nine(label, number):
        return np.where(label == 1, 9, label).astype(np.uint8) if number <= 2 else label

    labels = [{"value": 6, "structure": "liver"}, {"value": 1, "structure": "spleen"}]
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI], labels=labels)
    report = check(card, fill(raw, make_label=with_nine), STRUCTURES)
    finding = only_problem(report)
    assert finding.what.startswith("2 cases with values that the card does not list: 9 (")
    assert "unlisted_values: background" in finding.change
    fabricate.write_card(card, [NIFTI], labels=labels, ignored_values=[9])
    assert check(card, raw, STRUCTURES).fits


@pytest.mark.parametrize("cases", [None, 2])
def test_a_structure_that_no_reference_has(raw, tmp_path, cases):
    card = fabricate.write_card(
        tmp_path / "toy.yaml",
        [NIFTI],
        labels=[{"value": 6, "structure": "liver"}, {"value": 3, "structure": "spleen"}],
        unlisted_values="background",
    )
    report = check(card, fill(raw), STRUCTURES, cases=cases)
    (finding,) = report.findings
    assert "3 (spleen)" in finding.what
    assert finding.problem == (cases is None)  # the cases that were not read may have it
    assert ("of the first 2" in report.verdict) == (cases == 2)


def ones_as_255(label, number):
    return np.where(label > 0, 255, 0).astype(np.uint8)


def shares(label, number):
    return (label > 0) * np.float32(0.7)


def grey_values(label, number):
    return fabricate.anatomy()[0]


@pytest.mark.parametrize(
    ("make_label", "what", "change"),
    [
        (ones_as_255, "masks of 0 and 255", "write 255 as the structure's `value`"),
        (shares, "label values are not integers", "`format: probability`"),
        (grey_values, "an image or a probability map, not labels", "to label volumes"),
    ],
)
def test_files_that_are_no_labels(raw, tmp_path, make_label, what, change):
    labels = [{"value": 1, "structure": "liver"}]
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI], labels=labels)
    finding = only_problem(check(card, fill(raw, make_label=make_label), STRUCTURES))
    assert what in finding.what
    assert change in finding.change


@pytest.mark.parametrize(("side", "fits"), [("right", True), ("left", False)])
def test_sides_that_most_cases_contradict(raw, tmp_path, side, fits):
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI], sides={"liver": side})
    report = check(card, fill(raw), STRUCTURES)
    assert report.fits == fits
    if not fits:
        assert only_problem(report).what.startswith("liver lies on the patient's right: 6 of 6")


def test_patients_splits_and_published_counts(raw, tmp_path):
    for part in ("a", "b"):
        name = f"p{{:02d}}_{part}.nii.gz"
        fill(raw, image=f"images/{name}", label=f"labels/{name}", cases=4)
    split = {"rule": "official_test", "train": 95, "val": 5}
    counts = {"images": 9, "patients": 4, "classes": 2, "size": 4}
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI], split=split, published=counts)
    report = check(card, raw, STRUCTURES)
    assert "official test set, but no case is in it" in only_problem(report).what
    looked = " ".join(finding.what for finding in report.findings if not finding.problem)
    assert "4 patients with several images: p01_a, p01_b" in looked
    assert "8 images of 9, 8 patients of 4 that are published" in looked
    source = NIFTI | {"pattern": "images/{patient}_{part}.nii.gz", "case": "{patient}_{part}"}
    source |= {
        "patient": "{patient}",
        "label": NIFTI["label"] | {"path": "labels/{patient}_{part}.nii.gz"},
    }
    rule = {"rule": "fraction", "train": 2, "val": 1, "test": 1}
    fabricate.write_card(card, [source], split=rule)
    report = check(card, raw, STRUCTURES)
    assert report.findings == ()
    assert report.sections["Patients of the 8 cases that can be used"] == [
        "4 patients, 8 images",
        "split (fraction): 2 train, 1 val, 1 test (patients)",
    ]


def test_unused_files_orphans_and_a_list_out_of_date(raw, card):
    fabricate.write_manifest(fill(raw))
    (raw / "notes.txt").write_text("seen by two readers")
    fabricate.save_nifti(raw / "labels" / "img0099.nii.gz", fabricate.anatomy()[1])
    report = check(card, raw, STRUCTURES)
    assert report.fits
    assert "not used: 2 files" in report.sections["Files"]
    said = " ".join(finding.what for finding in report.findings)
    assert "1 reference without an image: labels/img0099.nii.gz" in said
    assert "2 files came, went or changed after raw.json listed the folder" in said


def test_the_card_itself(raw, tmp_path):
    fill(raw)
    labels = [{"value": 6, "structure": "TODO_6"}, {"value": 1, "structure": "TODO_1"}]
    with pytest.raises(RegistryError, match=r"name the structures of the values 6, 1"):
        card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI], labels=labels)
        check(card, raw, STRUCTURES)
    with pytest.raises(RegistryError, match=r"unlisted_value: unknown key; did you mean"):
        card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI], unlisted_value="background")
        check(card, raw, STRUCTURES)
    with pytest.raises(RegistryError, match=r"\{1\}.*begins with a letter"):
        card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI | {"pattern": "{1}.nii.gz"}])
        check(card, raw, STRUCTURES)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        check(fabricate.write_card(tmp_path / "toy.yaml", [NIFTI]), tmp_path / "no", STRUCTURES)


def test_cases_are_refused_for_the_converters_own_reasons(tree):  # noqa: F811
    raw, path = tree
    card = load_card(path)
    layout = lay_out(card, read_folder(raw))
    scans = {seen.case.name: seen for seen in scan_all(card, layout.jobs, workers=2)}
    done = fabricate.convert(raw, path)
    refused = {name: seen.reason for name, seen in scans.items() if seen.step}
    assert refused == done.rejected
    assert set(scans) - set(refused) == GOOD
    report = check(path, raw, load_structures("config/structures.tsv"))
    assert not report.fits
    text = render(report)
    assert text.splitlines()[-1].startswith("The card does not fit yet: ")
    for line in text.split("\n\nFiles\n")[0].splitlines():
        assert len(line) <= WIDTH or " " not in line.strip()


def test_warnings_are_the_converters_own(raw, tmp_path):
    label = NIFTI["label"] | {"geometry": "image"}
    sides = {"liver": "left", "spleen": "left"}
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI | {"label": label}], sides=sides)
    grey, classes = fabricate.anatomy()
    sheared = fabricate.LPS.copy()
    sheared[0, 1] = 0.1
    upside_down = fabricate.published(classes)[::-1]
    for name, affine in (("plain", fabricate.LPS), ("bare", np.eye(4)), ("sheared", sheared)):
        fabricate.save_nifti(raw / "images" / f"{name}.nii.gz", grey, affine)
        fabricate.save_nifti(raw / "labels" / f"{name}.nii.gz", upside_down, affine)
    done = fabricate.convert(raw, card)
    assert set(done.cases) == {"plain", "bare", "sheared"}
    what = load_card(card)
    for job in lay_out(what, read_folder(raw)).jobs:
        seen, told = scan(what, job), done.cases[job.case.name]["warnings"]
        assert all(warning in told for warning in (*seen.warnings, seen.doubt))
        assert seen.skewed == ("off the right angle" in told) == (job.case.name == "sheared")
        assert bool(seen.doubt) == (job.case.name == "bare")
        assert told.count("; ") + 1 == len(seen.warnings) + seen.skewed + bool(seen.doubt)


@pytest.mark.parametrize(
    ("image", "label", "patterns"),
    [
        (
            "images/{0}.nii.gz",
            "labels/{0}.nii.gz",
            ("images/{case}.nii.gz", "labels/{case}.nii.gz"),
        ),
        ("i/img{0}.nii.gz", "l/label{0}.nii.gz", ("i/img{case}.nii.gz", "l/label{case}.nii.gz")),
        ("x_{0}_0000.nii.gz", "gt/x_{0}.nii.gz", ("{case}_0000.nii.gz", "gt/{case}.nii.gz")),
        ("c{0}/ct.nii", "c{0}/mask.nii", ("{case}/ct.nii", "{case}/mask.nii")),
        (
            "volume-{0}.nii",
            "segmentation-{0}.nii",
            ("volume-{case}.nii", "segmentation-{case}.nii"),
        ),
    ],
)
def test_a_drafted_card_has_the_patterns_and_the_values(raw, tmp_path, image, label, patterns):
    fill(raw, image=image.replace("{0}", "{:03d}"), label=label.replace("{0}", "{:03d}"))
    out = tmp_path / "datasets" / "mine.yaml"
    draft("mine", raw, out)
    values = yaml.safe_load(out.read_text())
    assert (values["images"][0]["pattern"], values["images"][0]["label"]["path"]) == patterns
    assert [entry["value"] for entry in values["labels"]] == [1, 6]
    assert values["modality"] == "unknown"  # the fabricated air is at -900
    with pytest.raises(RegistryError, match="name the structures of the values 1, 6"):
        check(out, raw, STRUCTURES)
    text = out.read_text().replace("TODO_1", "spleen").replace("TODO_6", "liver")
    out.write_text(text)
    assert check(out, raw, STRUCTURES).fits
    with pytest.raises(RegistryError, match="there is a card already"):
        draft("mine", raw, out)
    assert out.read_text() == text


def test_a_drafted_card_keeps_a_patients_scans_together(raw, tmp_path):
    for number in (1, 2):
        name = f"s{number}/{{:02d}}"
        fill(raw, image=f"p{name}/ct.nii.gz", label=f"p{name}/seg.nii.gz", cases=3)
    draft("mine", raw, tmp_path / "mine.yaml")
    (source,) = yaml.safe_load((tmp_path / "mine.yaml").read_text())["images"]
    assert source["pattern"] == "{patient}/{scan}/ct.nii.gz"
    assert (source["case"], source["patient"]) == ("{patient}_{scan}", "{patient}")


def air(image, number):
    return np.where(image < 0, -1000, image).astype(np.int16)


def test_a_drafted_card_knows_ct_by_its_air(raw, tmp_path):
    draft("mine", fill(raw, make_image=air), tmp_path / "mine.yaml")
    assert yaml.safe_load((tmp_path / "mine.yaml").read_text())["modality"] == "ct"


def test_folders_that_no_card_can_be_drafted_for(raw, tmp_path):
    out = tmp_path / "mine.yaml"
    fill(raw, label="")
    with pytest.raises(RegistryError, match=r"6 images .* and 0 references .* do not pair up"):
        draft("mine", raw, out)
    with pytest.raises(RegistryError, match="letters, digits and _ only"):
        draft("my organs", raw, out)
    fill(raw, make_label=grey_values)
    with pytest.raises(RegistryError, match="not label volumes"):
        draft("mine", raw, out)
    assert not out.exists()


def test_nothing_near_is_no_correction():
    assert correct("images/{case}.nii.gz", ["notes.txt", "a/b/c.pdf"]) is None
    assert list(pairs("a/ct.nii.gz", "b/heart.nii.gz")) == []
