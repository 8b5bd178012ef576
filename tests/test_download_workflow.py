"""Downloads as a person meets them: the dry run's summary, consent, the file of licences."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
STUDY = "own"
MANIFEST = f"data/{STUDY}/raw/mine.json"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The repository with a study of one dataset of one's own, whose terms must be accepted."""
    folder = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("workflow", "config", "hermes"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "Snakefile", folder / "Snakefile")
    config = folder / "config"
    card = yaml.safe_load((config / "datasets/ss_t.yaml").read_text("utf-8"))
    card |= {"name": "mine", "title": "Mine", "role": "sample"}
    (config / "datasets/mine.yaml").write_text(yaml.safe_dump(card), "utf-8")
    study = yaml.safe_load((config / "studies/samples.yaml").read_text("utf-8"))
    study |= {"name": STUDY, "datasets": ["mine"]}
    study["preprocess"]["spacing_mm"] = {"default": 6}
    (config / f"studies/{STUDY}.yaml").write_text(yaml.safe_dump(study), "utf-8")
    raw = folder / f"data/{STUDY}/raw/mine/Thoracic_OAR/1"
    raw.mkdir(parents=True)
    (raw / "data.nii.gz").write_bytes(b"a scan")
    return folder


def snakemake(folder, *arguments):
    command = [sys.executable, "-m", "snakemake", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_dry_run_of_the_papers_study_says_what_is_missing(checkout):
    done = snakemake(checkout, "-n", "--config", "study=paper", "--", "results/table2.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("Datasets of the study paper: 0 of 13 are in place.") == 1
    assert "needs accept=kits" in done.stderr and "--config without=" in done.stderr


def test_downloads_go_side_by_side_and_hash_by_several_threads(checkout):
    chosen = ("-n", "-p", "--cores", "8", "--config", "study=paper", "accept=chaos", "--")
    done = snakemake(checkout, *chosen, "data/paper/raw/chaos.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"connections": 4, "workers": 2' in done.stdout + done.stderr


def test_run_whose_datasets_do_not_fit_together_stops_before_the_first(checkout):
    """No disk has room for an archive as large as this card says, nor is anything asked for."""
    card = checkout / "config/datasets/chaos.yaml"
    text = card.read_text("utf-8")
    card.write_text(text.replace("bytes: 890771694", f"bytes: {10**18}"), "utf-8")
    targets = [f"data/paper/raw/{name}.json" for name in ("chaos", "msd_pancreas")]
    try:
        chosen = ("--cores", "1", "--config", "study=paper", "accept=chaos", "--")
        done = snakemake(checkout, *chosen, *targets)
    finally:
        card.write_text(text, "utf-8")
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in said
    assert "CHAOS, MSD Pancreas: about 1e+06 TB to fetch" in said and "too few. Make room" in said
    assert not list(checkout.glob("data/archives/*")) and not list(checkout.glob("logs/paper/*/*"))


def test_nothing_is_said_of_the_phantoms_data(checkout):
    done = snakemake(checkout, "-n", "results/phantom/LICENSES.md")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Datasets of the study" not in done.stderr


def test_mistyped_name_in_accept(checkout):
    done = snakemake(checkout, "-n", "--config", f"study={STUDY}", "accept=miine", "--", MANIFEST)
    assert done.returncode != 0
    assert "accept: 'miine'; did you mean 'mine'?" in done.stdout + done.stderr


@pytest.mark.slow
def test_own_copy_is_used_once_its_terms_are_accepted_and_only_then(checkout):
    chosen = ("--cores", "1", "--config", f"study={STUDY}")
    done = snakemake(checkout, *chosen, "--", MANIFEST)
    assert done.returncode != 0 and not (checkout / MANIFEST).exists()
    said = done.stdout + done.stderr
    # by the stage, and again in the last line of the run
    assert said.count("Mine is used only once you accept its terms: bound to an agreement") == 2
    assert "add --config accept=mine" in said and "without=mine" in said
    assert "Traceback" not in said

    licences = f"results/{STUDY}/LICENSES.md"
    done = snakemake(checkout, *chosen, "accept=mine", "--", licences)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "own copy of who ran this" in (checkout / licences).read_text()
    (checkout / licences).unlink()
    done = snakemake(checkout, *chosen, "--", licences)
    assert done.returncode != 0 and not (checkout / licences).exists()
    assert "Mine is used only once you accept its terms" in done.stdout + done.stderr
    planned = snakemake(checkout, "-n", *chosen, "accept=mine", "connections=9", "--", MANIFEST)
    assert "Nothing to be done" in planned.stdout + planned.stderr


@pytest.mark.slow
def test_files_that_came_or_changed_are_listed_by_the_next_run(checkout):
    chosen = ("--cores", "1", "--config", f"study={STUDY}", "accept=mine", "--", MANIFEST)
    assert snakemake(checkout, *chosen).returncode == 0
    added = checkout / Path(MANIFEST).with_suffix("") / "added.txt"
    added.write_text("new")
    assert snakemake(checkout, *chosen).returncode == 0
    assert "added.txt" in (checkout / MANIFEST).read_text()
    planned = snakemake(checkout, "-n", *chosen)
    assert "Nothing to be done" in planned.stdout + planned.stderr
    added.write_text("newer")
    assert snakemake(checkout, *chosen).returncode == 0
    listed = json.loads((checkout / MANIFEST).read_text())["files"]
    assert {entry["path"]: entry["bytes"] for entry in listed}["added.txt"] == 5
