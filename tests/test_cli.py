"""The command `hermes`: exit statuses, plain lines, help."""

import shutil
from pathlib import Path

import fabricate
import pytest
import yaml
from typer.testing import CliRunner

from hermes.cli import app

ROOT = Path(__file__).parents[1]
CONFIG = str(ROOT / "config")
SOURCE = {
    "pattern": "images/{case}.nii.gz",
    "label": {"format": "nifti", "path": "labels/{case}.nii.gz"},
}


def hermes(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """Two cases in a study's raw folder, seen from where the study is built."""
    monkeypatch.chdir(tmp_path)
    raw = Path("data", "mystudy", "raw", "toy")
    image, label = fabricate.anatomy()
    for name in ("a", "b"):
        fabricate.save_nifti(raw / "images" / f"{name}.nii.gz", image)
        fabricate.save_nifti(raw / "labels" / f"{name}.nii.gz", fabricate.published(label))
    return raw


def test_help_says_what_each_command_is_for():
    done = hermes("--help")
    assert done.exit_code == 0
    for command in ("datasets", "needs", "check", "new-card", "predict"):
        assert command in done.output
        assert hermes(command, "--help").exit_code == 0


def test_datasets_lists_every_card():
    done = hermes("datasets", "--config", CONFIG)
    names = {path.stem for path in (ROOT / "config" / "datasets").glob("*.yaml")}
    assert names == {line.split()[0] for line in done.output.splitlines()[:-2]}
    assert done.output.splitlines()[-1] == "84 classes and 71 tasks, trained on together (upstream)"


def test_a_card_that_fits_ends_with_status_0(scans, tmp_path):
    card = fabricate.write_card(tmp_path / "toy.yaml", [SOURCE])
    done = hermes("check", card, "--study", "mystudy", "--workers", 1, "--config", CONFIG)
    assert done.output.startswith(f"{card} against data/mystudy/raw/toy\n")
    assert done.output.splitlines()[-1] == "The card fits: 2 cases, 2 structures."
    assert done.exit_code == 0
    assert done.output == hermes("check", card, scans, "--config", CONFIG).output


def test_a_card_that_does_not_fit_ends_with_status_1(scans, tmp_path):
    card = fabricate.write_card(tmp_path / "toy.yaml", [SOURCE | {"pattern": "img/{case}.nii.gz"}])
    done = hermes("check", card, scans, "--config", CONFIG)
    assert done.exit_code == 1
    assert "img/{case}.nii.gz: matches no file" in done.output
    assert "Does not fit" in done.output.splitlines()[2]
    assert done.output.splitlines()[-1].startswith("The card does not fit yet: 1 problem")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "amos_tc", "x"), "did you mean 'amos_ct'"),
        (("check", "amos_ct", "x"), "hermes check: x: no such folder"),
        (("check", "amos_ct"), "give the folder of the scans, or --study"),
        (("new-card", "amos_ct", "."), "there is a card already"),
        (("needs", "--study", "papr"), "did you mean 'paper'"),
        (("needs", "--study", "phantom"), "it needs nothing"),
        (("needs", "--study", "paper", "--accept", "kist"), "did you mean 'kits'"),
        (("needs", "--study", "paper", "--without", "kist"), "without: 'kist' is not in paper"),
        (("needs", "--study", "paper", "--protocol", "splt=paper"), "did you mean 'split'"),
        (("needs", "--study", "paper", "--protocol", "split"), "give SWITCH=VALUE"),
        (("new-card", "mine", "x"), "hermes new-card: x: no such folder"),
    ],
)
def test_a_mistake_is_answered_in_one_line(arguments, message):
    done = hermes(*arguments, "--config", CONFIG)
    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout


@pytest.mark.parametrize(
    "command", [("datasets",), ("check", "toy", "."), ("new-card", "toy", ".")]
)
def test_elsewhere_than_in_a_checkout_the_way_is_told(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = hermes(*command)
    assert done.exit_code == 1
    assert "run it in a Hermes checkout, or give --config" in done.stderr


def test_needs_says_what_is_missing_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = hermes("needs", "--study", "paper", "--config", CONFIG)
    assert done.exit_code == 0
    assert done.output.startswith("Datasets of the study paper: 0 of 13 are in place.\n")
    assert "- SS T is used only once you accept its terms" in done.output
    assert "- SS T is not fetched by itself" in done.output
    assert "Raw folder: data/paper/raw/ss_t." in done.output
    accepted = hermes("needs", "--study", "paper", "--accept", "ss_t", "--config", CONFIG)
    assert "- SS T is used only" not in accepted.output
    assert "- SS T is not fetched by itself" in accepted.output
    assert not list(tmp_path.iterdir())


def test_needs_goes_by_the_configuration(tmp_path, monkeypatch):
    """`without`, `protocol` and `accept` of config.yaml hold, until an option says else."""
    config = tmp_path / "config"
    shutil.copytree(CONFIG, config)
    monkeypatch.chdir(tmp_path)
    settings = yaml.safe_load((config / "config.yaml").read_text("utf-8"))
    settings |= {"without": ["ss_t", "ss_h"], "accept": "kits, chaos"}
    (config / "config.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    told = hermes("needs", "--study", "paper").output
    assert told.startswith("Datasets of the study paper: 0 of 11 are in place.\n")
    assert "SS T" not in told and "accept=kits,chaos,bcv,lits" in told
    told = hermes("needs", "--study", "paper", "--without", "mnms").output
    assert "0 of 12 are in place" in told and "SS T" in told and "M&Ms" not in told
    (config / "config.yaml").write_text(yaml.safe_dump(settings | {"protocol": {"splt": 1}}))
    done = hermes("needs", "--study", "paper")
    assert done.exit_code == 1 and "did you mean 'split'" in done.stderr


def test_a_new_card_is_drafted_into_the_folder_of_the_cards(scans, tmp_path):
    config = tmp_path / "config"
    config.mkdir()
    (config / "structures.tsv").write_bytes((ROOT / "config" / "structures.tsv").read_bytes())
    done = hermes("new-card", "mine", scans)
    assert done.exit_code == 0
    assert (
        done.output.splitlines()[-1] == f"Now name its structures, then: hermes check mine {scans}"
    )
    refused = hermes("check", "mine", scans)
    assert refused.exit_code == 1
    assert "name the structures of the values 1, 6" in refused.stderr


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("scan.nii.gz", "is the scan itself, which the answer would replace"),
        ("labels.png", "not a .nii or .nii.gz name"),
        ("nowhere/labels.nii.gz", "no such folder"),
    ],
)
def test_where_an_answer_cannot_go_is_said_before_any_work(tmp_path, out, told):
    """The model, which is not there, is not even looked for."""
    scan = tmp_path / "scan.nii.gz"
    scan.write_bytes(b"a scan")
    done = CliRunner().invoke(
        app, ["predict", str(tmp_path / "model"), str(scan), str(tmp_path / out)]
    )
    assert done.exit_code == 1
    assert told in done.stderr
    assert scan.read_bytes() == b"a scan"
