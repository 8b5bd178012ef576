"""The last lines of a run by Snakemake: what it would do, what it did, what failed and why."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIG = Path(__file__).parent / "tiny_study"
SPLIT = "results/tiny/splits/dlbs.tsv"
OTHER = "results/tiny/splits/mnms.tsv"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The repository's workflow with the tiny study, of which nothing is built."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("workflow", "config", "hermes"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "Snakefile", folder)
    shutil.copy(CONFIG / "tiny.yaml", folder / "config" / "studies")
    return folder


def snakemake(checkout, *arguments, targets=(SPLIT, OTHER), status=0):
    """Lines that the two streams of a run end with, without the empty ones."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--config", "study=tiny"]
    done = subprocess.run([*command, "--", *targets], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return [[line for line in text.splitlines() if line] for text in (done.stdout, done.stderr)]


@pytest.mark.slow
def test_the_last_lines_of_a_plan_of_a_run_and_of_nothing_to_do(checkout):
    plan, _ = snakemake(checkout, "-n")
    assert plan[-2:] == ["Would prepare 2 datasets.", "Why, of 6 jobs: not there yet (6)."]

    _, told = snakemake(checkout, "--cores", "2")
    head, *lines = told[-4:]
    assert head.startswith("Done in ") and ": 6 jobs, " in head
    assert lines[0].split()[:5] == ["prepared", "2", "datasets", "6", "jobs"]
    assert lines[1].startswith("Slowest: ")
    assert lines[2] == "Logs: logs/tiny"

    plan, _ = snakemake(checkout, "-n")
    assert plan[-1] == f"Nothing to do: {SPLIT}, {OTHER} are up to date."

    (checkout / "hermes" / "split" / "notes.py").open("a").write("# an edit\n")
    plan, _ = snakemake(checkout, "-n", "--cores", "2")
    assert plan[-3:-1] == [
        "Would prepare 2 datasets.",
        "Why, of 2 jobs: code changed, hermes/split/notes.py (2).",
    ]
    assert plan[-1].endswith(" on 2 cores by former runs.")


@pytest.mark.slow
def test_the_last_lines_of_failures_are_rule_cause_and_log(checkout):
    """The raw files of both datasets are gone, though their manifests still list them."""
    manifests = [f"data/tiny/raw/{name}.json" for name in ("dlbs", "mnms")]
    snakemake(checkout, "--cores", "2", targets=manifests)
    for name in ("dlbs", "mnms"):
        shutil.rmtree(checkout / "data" / "tiny" / "raw" / name)
    for built in ("data/tiny/canonical", "results/tiny"):
        shutil.rmtree(checkout / built, ignore_errors=True)
    _, told = snakemake(checkout, "--cores", "2", "--keep-going", status=1)
    assert told[-3] == "2 of 4 jobs failed, 0 done and kept, 2 not run."
    for line, name in zip(told[-2:], ("dlbs", "mnms"), strict=True):
        assert line.startswith(f"FAILED convert {name}: ")
        assert line.endswith(f" (log: logs/tiny/convert/{name}.log)")
        log = (checkout / "logs" / "tiny" / "convert" / f"{name}.log").read_text()
        assert line.split(": ", 1)[1][:60] in log


@pytest.mark.parametrize("question", ["--summary", "--dag", "--list-rules"])
def test_answers_that_are_no_run_have_no_last_lines(checkout, question):
    out, told = snakemake(checkout, question)
    assert not [line for line in out + told if "Would" in line or "Nothing to do" in line]
    assert "dlbs" in " ".join(out) or question == "--list-rules"
