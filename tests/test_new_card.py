"""A card drafted for a folder: patterns, values, modality, and what a person must say."""

import numpy as np
import pytest
import yaml
from card_folder import STRUCTURES, fill, grey_values

from hermes.card_check import check
from hermes.cli.new_card import draft
from hermes.config.registry import RegistryError

pytest_plugins = ["card_folder_fixtures"]


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
