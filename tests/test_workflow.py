"""The workflow as a user meets it: the DAG, and what an edit reruns."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIG = Path(__file__).parent / "tiny_study"


def snakemake(*arguments: str, cwd: Path = ROOT) -> str:
    command = [sys.executable, "-m", "snakemake", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The tracked part of the repository, so that nothing built here plays a part."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("Snakefile", "workflow", "config", "hermes"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def jobs(text: str) -> dict[str, int]:
    """The job counts that a dry run prints."""
    table = text.split("Job stats:", 1)[1].split("total", 1)[0].splitlines()
    rows = [line.split() for line in table]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def test_table2_of_the_phantom_needs_eleven_datasets_and_thirty_networks(checkout):
    found = jobs(snakemake("-n", "--cores", "2", "results/table2.csv", cwd=checkout))
    assert found == {
        **dict.fromkeys(("phantom", "convert", "preprocess", "split"), 11),
        "train": 30,
        "predict": 110,
        "evaluate": 110,
        "table": 1,
        "configured_study": 1,
    }


def test_the_papers_study_plans_the_same_table_from_downloads(checkout):
    text = snakemake("-n", "--config", "study=paper", "--", "results/table2.csv", cwd=checkout)
    found = jobs(text)
    assert found["download"] == 11
    assert found["train"] == 30
    assert "phantom" not in found


REFERENCE = "protocol={split: reference}"


def test_published_lists_are_fetched_once_for_the_datasets_in_them(checkout):
    names = ("bcv", "kits", "segthor")
    splits = [f"results/paper/splits/{name}.tsv" for name in names]
    chosen = ("-n", "--config", "study=paper", REFERENCE, "--", *splits)
    found = jobs(snakemake(*chosen, cwd=checkout))
    assert (found["split"], found["reference_lists"]) == (3, 1)
    alone = ("-n", "--config", "study=paper", REFERENCE, "--", splits[-1])
    assert "reference_lists" not in jobs(snakemake(*alone, cwd=checkout))


def test_the_phantom_has_no_patients_of_the_published_lists(checkout):
    command = [sys.executable, "-m", "snakemake", "-n", "--config", REFERENCE]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    assert done.returncode != 0
    assert "study phantom: protocol split: reference follows lists of real patients" in (
        done.stdout + done.stderr
    )


def test_the_data_of_a_study_hold_the_fractions_for_transfer(checkout):
    found = jobs(snakemake("-n", "data", cwd=checkout))
    assert found["split"] == 13
    assert found["split_fraction"] == 16  # five draws of 1, 10 and 50 %, and the whole


def test_an_unknown_study_is_answered_in_one_line(checkout):
    command = [sys.executable, "-m", "snakemake", "-n", "--config", "study=phantm"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    assert done.returncode != 0
    assert "did you mean 'phantom'" in done.stdout + done.stderr


def test_a_study_that_no_table_scores_says_so(checkout):
    shutil.copy(CONFIG / "tiny.yaml", checkout / "config" / "studies" / "tiny.yaml")
    command = [sys.executable, "-m", "snakemake", "-n", "--config", "study=tiny"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    assert done.returncode != 0
    assert "study tiny: no table" in done.stdout + done.stderr


def test_a_stage_that_meets_bad_input_ends_with_one_plain_line(tmp_path):
    arguments = {
        "dataset": "bcv",
        "percent": 10,
        "draw": 1,
        "seed": 0,
        "split": str(tmp_path / "missing.tsv"),
        "out": str(tmp_path / "out.tsv"),
    }
    log = tmp_path / "logs" / "split.log"
    script = str(ROOT / "workflow" / "scripts" / "stage.py")
    done = subprocess.run(
        [sys.executable, script, "split.fractions", json.dumps(arguments), "{}", str(log)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "missing.tsv" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in log.read_text()


def test_an_edited_value_reruns_what_it_decides_and_nothing_before_it(checkout):
    """Snakemake compares the values it recorded: a split's seed is cheap to see it with."""
    study = checkout / "config" / "studies" / "tiny.yaml"
    text = (CONFIG / "tiny.yaml").read_text()
    study.write_text(text)
    chosen = ("--config", "study=tiny", "--", "results/tiny/splits/dlbs.tsv")
    snakemake("--cores", "1", *chosen, cwd=checkout)
    assert "Nothing to be done" in snakemake("-n", *chosen, cwd=checkout)
    study.write_text(text.replace("iterations: 2", "iterations: 3"))
    assert "Nothing to be done" in snakemake("-n", *chosen, cwd=checkout)
    study.write_text(text.replace("seed: 1", "seed: 2"))
    assert jobs(snakemake("-n", *chosen, cwd=checkout)).get("split") == 1


def test_every_rule_says_what_it_needs_and_where_to_look(checkout):
    script = str(Path(__file__).parent / "snakemake_dag.py")
    asked = [sys.executable, script, "phantom", "all"]
    done = subprocess.run(asked, cwd=checkout, capture_output=True, text=True)
    needed = {"log", "benchmark", "message", "conda_env", "_cores", "mem_mb", "runtime"}
    rules = {job["rule"]: set(job["says"]) for job in json.loads(done.stdout) if job["output"]}
    assert len(rules) > 20
    assert {rule: needed - says for rule, says in rules.items() if needed - says} == {}


@pytest.mark.whole
def test_a_tiny_study_runs_from_nothing_to_its_table_twice_with_the_same_bytes(checkout):
    shutil.copy(CONFIG / "tiny.yaml", checkout / "config" / "studies" / "tiny.yaml")
    tables = (checkout / "config" / "tables.yaml").read_text()
    (checkout / "config" / "tables.yaml").write_text(tables + (CONFIG / "tables.yaml").read_text())
    target = "results/tiny/tiny.csv"
    chosen = ("--cores", "2", "--config", "study=tiny", "--", target)
    snakemake(*chosen, cwd=checkout)
    first = (checkout / target).read_bytes()
    lines = first.decode().splitlines()
    assert lines[0] == "model,dlbs,mnms,avg"
    assert [line.split(",")[0] for line in lines[1:]] == ["ResUNet", "Hermes-R"]
    shutil.rmtree(checkout / "results")
    snakemake(*chosen, cwd=checkout)
    assert (checkout / target).read_bytes() == first
    (checkout / "hermes" / "losses" / "softmax.py").open("a").write("# an edit\n")
    planned = jobs(snakemake("-n", "--config", "study=tiny", "--", target, cwd=checkout))
    assert planned["train"] == 3
    assert not {"phantom", "convert", "preprocess", "split"} & set(planned)
