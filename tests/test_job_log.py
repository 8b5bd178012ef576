"""Why a job failed, read from the log that its stage wrote; and how long a job took."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hermes.jobs.log import SILENT, cause, seconds

ROOT = Path(__file__).parents[1]
INFO = "2026-01-02 03:04:05,678 INFO net: 5 parameters, cpu\n"


def test_the_cause_of_a_stage_that_failed_is_what_it_printed(tmp_path):
    log = tmp_path / "split.log"
    values = {"dataset": "bcv", "percent": 10, "draw": 1, "seed": 0, "split": "missing.tsv"}
    script = str(ROOT / "workflow" / "scripts" / "stage.py")
    paths = json.dumps({"out": str(tmp_path / "out.tsv")})
    command = [sys.executable, script, "split.fractions", json.dumps(values), paths, str(log)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert cause(log) == "missing.tsv: no such table; run the stage that writes it first"
    assert f"split.fractions failed: {cause(log)}\n" in done.stderr


def test_the_last_error_counts_and_an_error_of_another_process_is_found(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(f"{INFO}2026-01-02 03:04:06,1 ERROR train failed: one\n  two\n")
    assert cause(log) == "one"
    log.write_text(INFO)
    other = tmp_path / "a.log.rank1"
    other.write_text("2026-01-02 03:04:06,1 ERROR train failed: no GPU\nTraceback\n")
    assert cause(log) == "no GPU"


def test_a_training_that_was_told_to_stop_says_so(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(f"{INFO}2026-01-02 03:04:06,1 WARNING net: stopped by SIGTERM, run it again\n")
    assert cause(log) == "net: stopped by SIGTERM, run it again"


def test_of_a_job_that_was_killed_the_executor_speaks_or_it_is_said_to_be_silent(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(f"2026-01-02 03:04:05,1 WARNING net: spacings are odd\n{INFO}")
    assert cause(log) == SILENT
    assert cause(log, "SLURM-job '5' failed,\n status OUT_OF_MEMORY") == (
        "SLURM-job '5' failed, status OUT_OF_MEMORY"
    )
    assert cause(tmp_path / "none.log") == SILENT


def test_a_log_that_no_stage_wrote_gives_its_last_line(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("cp: cannot stat 'a'\n\n")
    assert cause(log) == "cp: cannot stat 'a'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("s\th:m:s\n2.50\t0:00:02\n", 2.5), ("s\th:m:s\n", None), ("", None), ("s\nNA\n", None)],
)
def test_seconds_of_a_benchmark_file(tmp_path, text, expected):
    (tmp_path / "b.tsv").write_text(text)
    assert seconds(tmp_path / "b.tsv") == expected


def test_a_job_that_never_ran_has_no_seconds(tmp_path):
    assert seconds(tmp_path / "none.tsv") is None
