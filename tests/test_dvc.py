"""DVC's pipelines: made from the plan, the same DAG as Snakemake's, the same bytes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

ROOT = Path(__file__).parents[1]
TINY = Path(__file__).parent / "tiny_study"
TABLE = """
tiny:
  study: tiny
  title: Dice of the tiny study
  rows:
    - {model: ResUNet, run: "resunet-{dataset}"}
    - {model: Hermes-R, run: hermes-r}
  columns:
    - {key: dlbs, title: DLBS, of: [dlbs]}
"""
SCRIPTS = Path("workflow") / "scripts"
GIT = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost")


def run(folder: Path, *command: str, fails: bool = False) -> str:
    """Run a command in a folder, with this Python's programs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    said = done.stdout + done.stderr
    assert (done.returncode != 0) is fails, said
    return said


def make_checkout(folder: Path) -> Path:
    """The files as they stand, as a repository of its own, with the tiny study and its table."""
    listed = run(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("docs/", "tests/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    shutil.copy(TINY / "tiny.yaml", folder / "config" / "studies")
    with open(folder / "config" / "tables.yaml", "a", encoding="utf-8") as tables:
        tables.write(TABLE)
    (folder / "dvc.lock").unlink(missing_ok=True)
    run(folder, "git", "init", "--quiet")
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    run(folder, "git", "add", "--all")
    run(folder, *GIT, "commit", "--quiet", "--message", "As it stands")


def write_pipeline(folder: Path, *arguments: str, fails: bool = False) -> str:
    return run(folder, "python", "workflow/dvc/stages.py", *arguments, fails=fails)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return make_checkout(tmp_path_factory.mktemp("dvc"))


def stages_of(folder: Path, pipeline: str) -> dict[str, dict]:
    """Every stage as DVC reads it: command, outputs, dependencies, parameters."""
    found = {}
    with Repo(str(folder)) as repo:
        for stage in repo.stage.collect(str(folder / pipeline)):
            paths = {
                what: [os.path.relpath(each.fs_path, folder) for each in getattr(stage, what)]
                for what in ("outs", "deps")
            }
            found[stage.name] = {"cmd": stage.cmd or "", **paths}
    return found


@pytest.mark.whole
def test_the_committed_lock_is_of_the_committed_pipeline():
    """Else nobody can pull: the phantom has to be built, recorded and pushed once more."""
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    stages = stages_of(ROOT, "dvc.yaml")
    assert set(lock) == set(stages)
    for name, stage in stages.items():
        assert lock[name]["cmd"] == stage["cmd"]
        for what in ("deps", "outs"):
            entries = lock[name].get(what, [])
            parameters = {*lock[name].get("params", {})} - {entry["path"] for entry in entries}
            assert {entry["path"] for entry in entries} == {*stage[what]} - parameters, name


def below(path: str, others: list[str]) -> bool:
    return any(path == other or path.startswith(f"{other}/") for other in others)


def test_the_committed_pipeline_is_what_config_and_code_make():
    told = write_pipeline(ROOT, "phantom", "--check")
    assert told == ""


@pytest.mark.parametrize("study", ["phantom", "paper", "tiny"])
def test_stages_are_the_jobs_of_snakemake(checkout, study):
    pipeline = "dvc.yaml" if study == "phantom" else f"dvc/{study}/dvc.yaml"
    write_pipeline(checkout, study)
    stages = stages_of(checkout, pipeline)
    script = str(Path(__file__).parent / "snakemake_dag.py")
    asked = [sys.executable, script, study, "all"]
    done = subprocess.run(asked, cwd=checkout, capture_output=True, text=True)
    jobs = [job for job in json.loads(done.stdout) if job["output"]]
    if study != "phantom":
        jobs = [job for job in jobs if job["rule"] != "configured_study"]
    owner = {
        path: [name for name, stage in stages.items() if below(path, stage["outs"])]
        for job in jobs
        for path in job["output"]
    }
    assert {path: names for path, names in owner.items() if len(names) != 1} == {}
    for job in jobs:
        name = owner[job["output"][0]][0]
        assert {owner[path][0] for path in job["output"]} == {name}
        rules = stages[name]["cmd"].split("--allowed-rules ")[1].split(" --")[0].split()
        assert job["rule"] in rules
        others = [path for path in job["input"] if owner.get(path) != [name]]
        assert [path for path in others if not below(path, stages[name]["deps"])] == [], name
    assert {name for names in owner.values() for name in names} == set(stages) - {"plan"}
    if study != "phantom":
        shutil.rmtree(checkout / "dvc" / study)


def test_outputs_are_ignored_by_git_and_raw_files_are_never_deleted():
    outs = [out for stage in stages_of(ROOT, "dvc.yaml").values() for out in stage["outs"]]
    raw = [out for out in outs if out.startswith("data/phantom/raw/")]
    assert len(raw) == 13
    assert all(out.endswith(".json") for out in raw)
    asked = subprocess.run(
        ["git", "check-ignore", "--stdin"],
        cwd=ROOT,
        input="\n".join(outs),
        capture_output=True,
        text=True,
    )
    assert set(outs) == set(asked.stdout.split())


def test_only_what_a_rule_is_told_is_a_parameter():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    runs = stages["train-each"]["foreach"]
    assert "overrides.medformer-[*].epochs" in runs["medformer-bcv"]["study"]
    assert not any("medformer" in key for key in runs["resunet-bcv"]["study"])
    told = stages["train"]["do"]["params"][0]["config/studies/phantom.yaml"]
    assert "train.learning_rate" in told
    assert "train.threads" not in told
    for name in ("convert", "preprocess", "split", "measure"):
        assert "train." not in json.dumps(stages[name])


def test_a_pipeline_that_lags_behind_its_study_is_refused(checkout):
    write_pipeline(checkout, "phantom")
    study = checkout / "config" / "studies" / "phantom.yaml"
    text = study.read_text(encoding="utf-8")
    study.write_text(text.replace("overrides:\n", "overrides:\n  dodnet: {epochs: 3}\n"))
    told = write_pipeline(checkout, "phantom", "--check", fails=True)
    study.write_text(text, encoding="utf-8")
    assert "write it anew" in told


@pytest.fixture(scope="module")
def ways(tmp_path_factory):
    """The tiny study by every way, compared; the folder of the clones."""
    source = make_checkout(tmp_path_factory.mktemp("source"))
    folder = tmp_path_factory.mktemp("ways") / "tiny"
    told = run(source, "python", str(SCRIPTS / "compare_ways.py"), "tiny", str(folder))
    assert told.count(": yes") == 4
    return folder


def changed(folder: Path) -> set[str]:
    """Names of the stages, before their @, that DVC finds changed."""
    told = run(folder, "dvc", "status", "--json", "dvc/tiny/dvc.yaml")
    return {name.split(":")[-1].split("@")[0] for name in json.loads(told)}


@pytest.mark.slow
def test_snakemake_dvc_and_a_pull_give_the_same(ways):
    assert (ways / "dvc" / "results" / "tiny" / "tiny.csv").read_text().startswith("model,dlbs")
    assert not (ways / "pulled" / "data" / "tiny" / "raw" / "dlbs").exists()


@pytest.mark.slow
def test_an_edit_reruns_what_it_decides_and_nothing_before_it(ways):
    """In the pulled clone: DVC compares values that it recorded elsewhere."""
    clone = ways / "pulled"
    study = clone / "config" / "studies" / "tiny.yaml"
    text = study.read_text(encoding="utf-8")
    reports = {"plan", "table", "quality"}
    edits = {
        "learning_rate: 0.01": ("learning_rate: 0.02", {"train", "train-each", *reports}),
        "nsd_tolerance_mm: 8.0": ("nsd_tolerance_mm: 9.0", {"evaluate", "evaluate-each", *reports}),
        "dlbs: 5,": ("dlbs: 6,", {"convert", "split", *reports}),
    }
    for old, (new, expected) in edits.items():
        assert old in text
        study.write_text(text.replace(old, new), encoding="utf-8")
        assert changed(clone) == expected, new
    study.write_text(text, encoding="utf-8")
    config = clone / "config" / "config.yaml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("protocol: {}", "protocol: {test_crop: image}"))
    runs = {f"{name}{ending}" for name in ("train", "predict") for ending in ("", "-each")}
    assert changed(clone) == {"preprocess", "split", *runs, *reports}
    config.write_text(text, encoding="utf-8")
    card = clone / "config" / "datasets" / "dlbs.yaml"
    card.write_text(f"doi: 10.0/none\n{card.read_text(encoding='utf-8')}", encoding="utf-8")
    assert changed(clone) == {"plan", "table", "quality", "licences", "overlays"}


@pytest.mark.slow
def test_an_experiment_changes_a_value_and_leaves_trainings_alone(ways):
    clone = ways / "dvc"
    setting = "config/studies/tiny.yaml:evaluate.nsd_tolerance_mm=1"
    stage = "dvc/tiny/dvc.yaml:evaluate@hermes-r"
    told = run(clone, "dvc", "exp", "run", stage, "--set-param", setting)
    assert [line for line in told.splitlines() if line.startswith("Running stage")] == [
        f"Running stage '{stage}':"
    ]
    scores = clone / "results" / "tiny" / "scores" / "hermes-r" / "dlbs.tsv"
    other = ways / "snakemake" / scores.relative_to(clone)
    assert scores.read_text() != other.read_text()


@pytest.mark.slow
def test_curves_and_dice_are_plotted(ways):
    """Every training has a curve of its epochs, every model a value in each column."""
    clone = ways / "snakemake"
    told = subprocess.run(
        [
            Path(sys.executable).parent / "dvc",
            "plots",
            "show",
            "--json",
        ],  # the phantom has none here
        cwd=clone,
        capture_output=True,
        text=True,
    )
    plots = json.loads(told.stdout)["data"]
    training, dice = (
        plots[f"dvc/tiny/dvc.yaml::{name}"][0]["content"]["data"]["values"]
        for name in ("training", "dice")
    )
    curves = {(Path(row["filename"]).parent.name, row["epoch"]) for row in training}
    assert curves == {(run, epoch) for run in ("resunet-dlbs", "hermes-r") for epoch in "12"}
    assert all(float(row["loss"]) > 0 for row in training)
    assert {(row["model"], row["column"]) for row in dice} >= {("Hermes-R", "dlbs")}
    for name in ("training", "dice"):
        assert Path(plots[f"results/tiny/figures/{name}.png"][0]["url"]).is_file()


@pytest.mark.slow
def test_the_report_has_every_table_and_figure_with_its_caption(ways):
    clone = ways / "snakemake"
    page = ("--report", "report.html", "--config", "study=tiny", "--", "all")
    run(clone, "snakemake", *page)
    text = (clone / "report.html").read_text(encoding="utf-8")
    for name in ("tiny.csv", "tables.html", "training.svg", "dice.svg", "overlay_dlbs.png"):
        assert name in text, name
    assert "A test of the pipeline; its numbers mean nothing" in text  # captions have the label


@pytest.mark.slow
def test_numbers_of_the_tables_are_compared_between_commits(ways):
    clone = ways / "snakemake"
    metrics = clone / "results" / "tiny" / "metrics.json"
    commit(clone)
    numbers = json.loads(metrics.read_text(encoding="utf-8"))
    before, numbers["tiny"]["Hermes-R"]["dlbs"] = numbers["tiny"]["Hermes-R"]["dlbs"], 50.0
    metrics.write_text(json.dumps(numbers), encoding="utf-8")
    told = run(clone, "dvc", "metrics", "diff", "--json", "--targets", str(metrics))
    diff = json.loads(told[told.index("{") :])["results/tiny/metrics.json"]
    assert diff == {"tiny.Hermes-R.dlbs": {"old": before, "new": 50.0, "diff": 50.0 - before}}
