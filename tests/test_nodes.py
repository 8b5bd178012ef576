"""Trainings on several machines: what is refused before a job starts (a cluster: test_slurm.py)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("ranks", "message"),
    [(4, "nodes=2, and this is no SLURM job"), (3, "3 processes cannot be shared by 2 machines")],
)
def test_a_training_is_not_begun_where_its_machines_are_missing(tmp_path, ranks, message):
    paths = json.dumps({"ranks": ranks, "nodes": 2, "threads": 1})
    script = str(ROOT / "workflow" / "scripts" / "stage.py")
    done = subprocess.run(
        [sys.executable, script, "train", "{}", paths, str(tmp_path / "train.log")],
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("SLURM_")},
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_gpus_that_machines_cannot_share_alike_are_refused():
    command = [sys.executable, "-m", "snakemake", "-n", "--config", "gpus=3", "nodes=2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "nodes=2: 3 processes of resunet-" in done.stdout + done.stderr
