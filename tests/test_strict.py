"""Strict arithmetic: pinned kernels, and the same bytes whatever the machine shows of itself."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from engine_study import arguments, assert_same, fabricate_study

from hermes.strict import pin

ROOT = Path(__file__).parents[1]


def train_strictly(study: Path, out: Path, cores: set[int]) -> dict:
    """Train as the rule does, on these cores; returns what `model.json` says of it."""
    case = arguments(study, out, epochs=1, precision="auto")
    paths = json.dumps({"strict": True, "threads": 2})
    script = str(ROOT / "workflow" / "scripts" / "stage.py")
    done = subprocess.run(
        [sys.executable, script, "train", json.dumps(case), paths, str(out / "log")],
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    assert done.returncode == 0, done.stderr
    return json.loads((out / "model.json").read_text())["extra"]


@pytest.mark.slow
def test_one_core_and_all_give_the_same_bytes(tmp_path):
    study, one, every = (tmp_path / name for name in ("study", "one", "every"))
    study.mkdir()
    fabricate_study(study)
    cores = os.sched_getaffinity(0)
    told = train_strictly(study, every, cores)
    train_strictly(study, one, {min(cores)})
    assert_same(one, every)
    assert told["strict"] is True
    assert told["precision"] == "float32"
    if platform.machine() == "x86_64":
        assert told["cpu_instructions"] == "AVX2"


def test_it_is_too_late_once_torch_is_loaded(monkeypatch):
    monkeypatch.delenv("MKL_DYNAMIC", raising=False)
    with pytest.raises(ValueError, match=r"strict: .*MKL_DYNAMIC.* before the process starts"):
        pin("auto", "cpu")
