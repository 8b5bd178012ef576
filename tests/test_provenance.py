"""A number's chain: told whole, told of one cell, and any link that changed is named."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import provenance_study
import pytest
from typer.testing import CliRunner

from hermes import origin
from hermes.cli import app
from hermes.files.tables import read_tsv, write_tsv
from hermes.origin import file_hash
from hermes.provenance.sidecar import as_text, joint_hash

ROOT = Path(__file__).parents[1]
TINY = ROOT / "tests" / "tiny_study"


def hermes(*arguments):
    done = CliRunner().invoke(app, ["provenance", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return provenance_study.build(tmp_path)


def words(text):
    """Lines of a text as lists of words."""
    return [line.split() for line in text.splitlines()]


def test_the_chain_goes_from_raw_files_to_the_table(table):
    done = hermes(table)
    assert done.exit_code == 0
    lines = words(done.output)
    manifest = Path("data/s/raw/aa.json")
    entries = json.loads(manifest.read_text())["files"]
    together = joint_hash((entry["path"], entry["sha256"]) for entry in entries)
    assert ["aa", "download", "4", "0.0", together[:12], file_hash(manifest)[:12]] in lines
    folders = ("data/s/canonical/bb/cases.tsv", "data/s/preprocessed/bb/cases.tsv")
    hashes = [file_hash(path)[:12] for path in (*folders, "results/s/splits/bb.tsv")]
    assert ["bb", "4", "4", "1", "1", "2", *hashes] in lines
    weights = file_hash("results/s/models/joint/model.safetensors")[:12]
    assert ["joint", "6", "-", "1", "no", weights, "c" * 12, "batch", "4"] in lines
    assert lines[[line[:1] for line in lines].index(["net-aa"])][-1] == "nothing"
    assert ["t.csv", file_hash(table)[:12]] in lines
    assert "aa: aa.zip, md5 " + "0" * 32 in done.output


def test_one_hash_of_many_files_is_that_of_their_sha256sum_list(tmp_path):
    for name, text in (("b", "two"), ("a", "one")):
        (tmp_path / name).write_text(text)
    listed = subprocess.run(
        "sha256sum a b | LC_ALL=C sort | sha256sum",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    files = [(name, file_hash(tmp_path / name)) for name in ("b", "a")]
    assert joint_hash(files) == listed.stdout.split()[0]


def test_the_command_that_makes_it_again_has_the_settings_it_was_made_with(table):
    line = next(one for one in hermes(table).output.splitlines() if "--config" in one)
    told = shlex.split(line)
    chosen = told[told.index("--config") + 1 : told.index("--")]
    assert chosen == ["study=s", "without=cc", 'protocol={"split": "reference"}']
    assert told[-1] == "results/s/t.csv"


def test_the_command_names_the_machines_and_the_gpus_it_was_made_with(table):
    sidecar = table.with_suffix(".json")
    facts = json.loads(sidecar.read_text())
    facts["settings"] |= {"nodes": 2, "gpus": 16}
    sidecar.write_text(json.dumps(facts))
    line = next(one for one in hermes(table).output.splitlines() if "--config" in one)
    told = shlex.split(line)
    assert told[told.index("--profile") + 1] == "workflow/profiles/slurm"
    assert {"gpus=16", "nodes=2"} <= set(told[told.index("--config") + 1 : told.index("--")])


def test_a_copy_under_the_papers_name_tells_the_same(table):
    for ending in (".csv", ".md", ".json"):
        shutil.copy(table.with_suffix(ending), "results")
    assert "-- results/t.csv\n" in hermes("results/t.csv").output
    assert hermes("--check", "results/t.csv").output.startswith("results/t.csv: every link")
    rewrite("results/t.md", "Joint", "Joined")
    assert "results/t.md: edited since it was made" in hermes("--check", "results/t.csv").output


def test_it_can_be_asked_from_anywhere(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    done = hermes("--check", tmp_path / table)
    assert done.exit_code == 0
    assert done.output.startswith("results/s/t.csv: every link is as recorded")


def rewrite(path, old, new):
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


CHANGES = [
    ("results/s/t.csv", "Joint", "Joined", "table"),
    ("results/s/scores/joint/bb.tsv", "0.75", "0.85", "scores"),
    ("results/s/models/net-bb/model.safetensors", "weights", "others", "weights"),
    ("results/s/models/net-bb/model.json", '"seed": 1', '"seed": 2', "model"),
    ("results/s/models/net-bb/origin.json", "cccc", "dddd", "origin"),
    ("results/s/predictions/joint/aa/cases.tsv", "p3.nii.gz", "p4.nii.gz", "predictions"),
    ("results/s/predictions/joint/aa/p4_grid.b2nd", "joint", "other", "predictions"),
    ("results/s/splits/aa.tsv", "train", "val", "split"),
    ("data/s/preprocessed/aa/cases.tsv", "p1", "p5", "preprocessed"),
    ("data/s/canonical/aa/cases.tsv", "p1", "p5", "canonical"),
    ("data/s/raw/bb.json", "download", "copy", "raw"),
]


@pytest.mark.parametrize(("path", "old", "new", "link"), CHANGES)
def test_a_link_that_changed_is_named(table, path, old, new, link):
    assert hermes("--check", table).exit_code == 0
    rewrite(path, old, new)
    done = hermes("--check", table)
    assert done.exit_code == 1
    links = {line[0] for line in words(done.output)[1:] if any(path in word for word in line)}
    assert link in links, done.output


def test_a_link_that_is_gone_is_named(table):
    Path("results/s/scores/joint/bb.tsv").unlink()
    done = hermes("--check", table)
    assert done.exit_code == 1
    assert "  scores  results/s/scores/joint/bb.tsv: not there\n" in done.output


def test_raw_files_are_read_when_asked_for(table):
    Path("data/s/raw/aa/p1.nii").write_text("no scan")
    done = hermes("--check", table)
    assert done.exit_code == 0
    assert "raw files by their manifests (--raw: all)" in done.output
    done = hermes("--check", "--raw", table)
    assert done.exit_code == 1
    assert "data/s/raw/aa/p1.nii: not what the manifest lists" in done.output


def test_predictions_by_other_weights_than_the_models_are_told_when_the_table_is_made(table):
    """As where a network was trained again and the predictions were touched."""
    manifest = Path("results/s/predictions/net-aa/aa/cases.tsv")
    rows = [row | {"model_sha256": "0" * 64} for row in read_tsv(manifest)]
    write_tsv(manifest, tuple(rows[0]), rows)
    done = hermes("--check", provenance_study.table())
    assert done.exit_code == 1
    assert "net-aa on aa: by other weights than net-aa has: p3, p4\n" in done.output


def test_a_network_of_another_split_than_the_tables_is_told(table):
    rewrite("results/s/splits/aa.tsv", "p1\tp1\ttrain", "p1\tp1\tunused")
    done = hermes("--check", provenance_study.table())
    assert done.exit_code == 1
    assert "model  joint: was trained on another results/s/splits/aa.tsv" in done.output
    assert "net-bb" not in done.output


def test_one_number_has_its_cases_network_and_training_sets(table):
    done = hermes(table, "--cell", "joint", "BB")
    assert done.exit_code == 0
    assert done.output.startswith("results/s/t.csv: Joint, BB: 70.00\n")
    assert "NOT" not in done.output
    lines = words(done.output)
    grid = "results/s/predictions/joint/bb/p4_grid.b2nd"
    assert ["p4", "65.00", "p4_grid.b2nd", file_hash(grid)[:12]] in lines
    assert ["p3", "75.00"] in [line[:2] for line in lines]
    assert ["network", "results/s/models/joint"] in [line[:2] for line in lines]
    assert [line[0] for line in lines[-2:]] == ["aa", "bb"]  # it was trained on both
    alone = hermes(table, "--cell", "Each", "bb").output
    assert [line[0] for line in words(alone)[-1:]] == ["bb"]
    assert "aa" not in alone


def test_a_number_that_its_scores_no_longer_give_is_told(table):
    rewrite("results/s/scores/joint/bb.tsv", "0.75", "0.85")
    output = hermes(table, "--cell", "Joint", "bb").output
    assert output.splitlines()[2] == "NOT the same now: the score files give 75.00"


def test_an_average_names_its_columns(table):
    lines = words(hermes(table, "--cell", "Joint", "avg").output)
    assert lines[1:3] == [["aa", "70.00"], ["bb", "70.00"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("results/s/tt.csv",), "no sidecar results/s/tt.json; "),
        (("results/table2.csv",), "no sidecar results/table2.json; no other table lies there"),
        (("results/s/t.csv", "--cell", "Jont", "aa"), "no row 'Jont'; did you mean 'Joint'?"),
        (("results/s/t.csv", "--cell", "Joint", "zz"), "no column 'zz'; known: aa, bb, avg"),
        (("results/s/t.csv", "--check", "--cell", "Joint", "aa"), "either --cell or --check"),
        (("results/s/old.csv",), "results/s/old.json: no sidecar of a table, or an old one"),
    ],
)
def test_a_mistake_is_answered_in_one_line(table, arguments, message):
    Path("results/s/old.json").write_text("{}")
    done = hermes(*arguments)
    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout


def test_changed_files_of_the_checkout_are_named_new_ones_too(tmp_path, monkeypatch):
    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(origin, "ROOT", tmp_path)
    (tmp_path / "kept").write_text("1")
    (tmp_path / "an edited one").write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    assert origin.changes() == []
    (tmp_path / "an edited one").write_text("2")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "one").write_text("1")
    assert origin.changes() == ["an edited one", "new/one"]
    assert origin.commit().endswith("+changes")


def test_a_sidecar_can_be_read_by_eye_and_by_machine():
    value = {"a": {"b": {"c": {"d": 1, "e": [1, 2]}}, "f": {}}, "g": "µ"}
    text = as_text(value)
    assert json.loads(text) == value
    assert '      "c": {"d": 1, "e": [1, 2]}\n' in text


@pytest.mark.whole
def test_a_table_of_a_built_study_is_checked_and_its_command_has_nothing_to_do(tmp_path):
    """Raw files to table by the workflow; then a raw file is edited, and a network trained anew."""
    for name in ("Snakefile", "workflow", "config", "hermes"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    shutil.copy(TINY / "tiny.yaml", tmp_path / "config" / "studies")
    with open(tmp_path / "config" / "tables.yaml", "a") as file:
        file.write((TINY / "tables.yaml").read_text())
    target = "results/tiny/tiny.csv"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run(*command):
        environment = os.environ | {"PATH": path}
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, env=environment
        )
        return done.returncode, done.stdout + done.stderr

    def told(*arguments):
        return run(sys.executable, "-m", "hermes", "provenance", *arguments, target)

    status, text = run("snakemake", "--cores", "2", "--config", "study=tiny", "--", target)
    assert status == 0, text
    status, text = told()
    assert status == 0, text
    command = next(line for line in text.splitlines() if "--config" in line)
    program, *arguments = shlex.split(command)
    status, text = run(program, "-n", *arguments)
    assert status == 0 and "Nothing to be done" in text, text
    status, text = told("--check", "--raw")
    assert status == 0, text
    raw = next((tmp_path / "data/tiny/raw/dlbs").rglob("*.nii"))
    raw.write_bytes(raw.read_bytes()[:-1] + b"x")
    weights = tmp_path / "results/tiny/models/hermes-r/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    status, text = told("--check", "--raw")
    assert status == 1
    assert f"{raw.relative_to(tmp_path)}: not what the manifest lists" in text
    assert "hermes-r/model.safetensors: other weights" in text
    assert len(text.split("Otherwise")[0].splitlines()) == 3
