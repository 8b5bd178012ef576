"""Strict arithmetic: pinned kernels, and the same bytes whatever the machine shows of itself."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from engine_study import arguments, assert_same, fabricate_study

from hermes.files.store import save_case
from hermes.files.tables import write_tsv
from hermes.jobs.strict import pin

ROOT = Path(__file__).parents[1]

chooses_cores = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system does not let a process choose cores"
)

LIES = {  # a machine that says otherwise of itself
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "AVX",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3",
    "OPENBLAS_CORETYPE": "Nehalem",
}


def run_strictly(stage: str, values: dict, log: Path, cores: set[int], **told: str) -> None:
    """Run a stage as its rule does, on these cores."""
    paths = json.dumps({"strict": True, "threads": 2})
    script = str(ROOT / "workflow" / "scripts" / "stage.py")
    done = subprocess.run(
        [sys.executable, script, stage, json.dumps(values), paths, str(log)],
        env=os.environ | told,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A study, and a model that was trained on it with all cores, in a folder `every`."""
    folder = tmp_path_factory.mktemp("trained")
    fabricate_study(folder)
    case = arguments(folder, folder / "every", epochs=1, precision="auto")
    run_strictly("train", case, folder / "log", os.sched_getaffinity(0))
    return folder


@chooses_cores
@pytest.mark.slow
def test_trained_on_one_core_and_on_all_the_bytes_are_equal(trained, tmp_path):
    case = arguments(trained, tmp_path, epochs=1, precision="auto")
    run_strictly("train", case, tmp_path / "log", {min(os.sched_getaffinity(0))}, **LIES)
    assert_same(tmp_path, trained / "every")
    told = json.loads((tmp_path / "model.json").read_text())["extra"]
    assert told["strict"] is True
    assert told["precision"] == "float32"
    if platform.machine() == "x86_64":
        assert told["cpu_instructions"] == "AVX2"


def predictable(folder: Path) -> dict:
    """A case with noise to predict, and the arguments of the predict stage but where to write."""
    size = [40, 36, 38]
    flat = [float(x) for x in np.diag([-2.0, -2.0, 2.0, 1.0]).ravel()]
    grid = {"canonical_affine": flat, "canonical_size": size, "grid_size": size}
    native = {"native_affine": flat, "native_size": size[::-1], "grid_spacing_mm": [2.0] * 3}
    image = np.random.default_rng(5).standard_normal(size).astype(np.float32)
    save_case(folder, "case", image, None, {"modality": "ct"} | grid | native)
    write_tsv(folder / "split.tsv", ("case", "split"), [{"case": "case", "split": "test"}])
    return {
        "name": "toy",
        "dataset": "toy_ct",
        "folder": str(folder),
        "split": str(folder / "split.tsv"),
        "prediction": {"stride": 0.5, "batch": 1, "threshold": 0.5},
    }


@chooses_cores
@pytest.mark.slow
def test_predicted_on_one_core_and_on_all_the_bytes_are_equal(trained, tmp_path):
    given = predictable(tmp_path) | {"model": str(trained / "every" / "model.safetensors")}
    cores = os.sched_getaffinity(0)
    for name, own, told in (("every", cores, {}), ("one", {min(cores)}, LIES)):
        values = given | {"out": str(tmp_path / name / "cases.tsv")}
        run_strictly("predict", values, tmp_path / name / "log", own, **told)
    for name in ("cases.tsv", "case.nii.gz", "case_grid.b2nd"):
        one, every = ((tmp_path / folder / name).read_bytes() for folder in ("one", "every"))
        assert one == every, name


def test_it_is_too_late_once_torch_is_loaded(monkeypatch):
    monkeypatch.delenv("MKL_DYNAMIC", raising=False)
    with pytest.raises(ValueError, match=r"strict: .*MKL_DYNAMIC.* before the process starts"):
        pin("auto", "cpu")
