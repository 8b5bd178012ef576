"""Parts of a batch, in one process or in several: losses and gradients are those of the whole."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from engine_study import DATASETS, TRAINING, arguments, assert_same, fabricate_study

from hermes import train
from hermes.batch import Part
from hermes.config.study_schema import Training
from hermes.dataset import PartsDataset, run_seed
from hermes.files.tables import read_tsv
from hermes.jobs.distributed import Ranks, gather_batch, gathering, live
from hermes.jobs.interruption import STATUS
from hermes.models.methods import METHODS
from hermes.train.data import crops, sets
from hermes.train.objective import make_objective

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
WITH_RESUNET = sorted(name for name in METHODS if "resunet" in METHODS[name].networks)
TEN_STEPS = {  # an epoch each, so that the loss of every step is in the table
    "epochs": 10,
    "iterations": 1,
    "learning_rate": 2e-5,  # at 2e-3 rounding grows a thousandfold in ten steps, as it does alone
    "validation_crops": 2,
    "sampling": "uniform",
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Some images' modality is not known, and the datasets differ in their number of classes."""
    return fabricate_study(tmp_path_factory.mktemp("study"), toy_mr="unknown")


# ---- one process, several parts


def parts_of_a_step(study, method: str, accumulate: int, loss: str = "native"):
    """Settings, specification and parts of a step whose three images are of three datasets."""
    changed = {"batch": 3, "accumulate": accumulate, "loss": loss, "sampling": "uniform"}
    settings = Training(**TRAINING | changed | {"augment": False})
    options = {"prompt_size": 2} if method == "uniseg" else {}
    spec = train.make_spec(method, "resunet", options, DATASETS, settings)
    given = arguments(study, study)
    own = sets(DATASETS, given["folders"], given["splits"], "train")
    whole = crops(own, spec, settings, run_seed(3, "toy"), steps=1)
    mixed = (step for step in range(99) if len({p.dataset for p in whole.places(step)}) == 3)
    parts = PartsDataset(whole, rank=0, ranks=1, accumulate=accumulate)[next(mixed)]
    return settings, spec, parts


def gradients(study, method: str, accumulate: int, loss: str = "native"):
    """Terms of the step's loss and the gradient of every parameter, in float64."""
    settings, spec, parts = parts_of_a_step(study, method, accumulate, loss)
    model = train.start(spec, settings, 1, CPU).model.double().train()
    objective = make_objective(model, spec, settings, Ranks(0, 1, CPU))
    terms = objective.backward([doubled(part) for part in parts])
    return terms, {name: p.grad for name, p in model.named_parameters()}


def doubled(part: Part) -> Part:
    return part.holding(dataclasses.replace(part.batch, image=part.batch.image.double()))


@pytest.mark.parametrize(
    ("method", "loss"), [*((name, "native") for name in WITH_RESUNET), ("multitalent", "common")]
)
def test_parts_have_the_gradient_of_the_whole(study, method, loss):
    terms, whole = gradients(study, method, accumulate=1, loss=loss)
    again, parts = gradients(study, method, accumulate=3, loss=loss)
    torch.testing.assert_close(again, terms, rtol=1e-6, atol=1e-6)
    assert_same_gradients(parts, whole)


def test_decoders_without_an_image_are_left_alone(study):
    """In no part: no gradient at all, which the optimiser takes for a decoder at rest."""
    settings, spec, parts = parts_of_a_step(study, "multi_decoder", accumulate=3)
    model = train.start(spec, settings, 1, CPU).model
    make_objective(model, spec, settings, Ranks(0, 1, CPU)).backward(parts[:1])
    used = [any(p.grad is not None for p in decoder.parameters()) for decoder in model.decoders]
    assert used == [n == int(parts[0].batch.dataset) for n in range(3)]


def assert_same_gradients(ours, theirs):
    largest = max(float(g.abs().max()) for g in theirs.values() if g is not None)
    for name, gradient in theirs.items():
        assert (gradient is None) == (ours[name] is None), name
        if gradient is not None:
            torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-6 * largest)


def test_the_toys_would_show_a_wrong_weight(study):
    _, _, parts = parts_of_a_step(study, "hermes", accumulate=3)
    assert len({part.pairs for part in parts}) > 1
    assert len({part.known for part in parts}) > 1
    assert sum(part.pairs for part in parts) == pytest.approx(1)
    assert sum(part.known for part in parts) == pytest.approx(1)


def test_gathered_rows_carry_the_gradient_of_their_own_part():
    own = torch.tensor([[1.0], [2.0]], requires_grad=True)
    assert gather_batch(own) is own
    others = torch.tensor([[9.0], [0.0], [0.0], [7.0]])
    with gathering(lambda rows: live(others, rows, 1)):
        whole = gather_batch(own)
    assert whole.flatten().tolist() == [9.0, 1.0, 2.0, 7.0]
    (whole**2).sum().backward()
    assert own.grad.flatten().tolist() == [2.0, 4.0]
    assert gather_batch(own) is own


# ---- two processes, started by torchrun on a CPU


def in_two_processes(folder: Path, cases: list[dict]) -> int:
    """Train the cases one after the other in two processes; returns torchrun's exit status."""
    (folder / "cases.json").write_text(json.dumps(cases))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = [str(ROOT / "tests" / "train_process.py"), str(folder / "cases.json")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *torchrun, *script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    (folder / "output.txt").write_text(done.stdout + done.stderr)
    return done.returncode


def case(study, out, method, changed):
    options = {"prompt_size": 2} if method == "uniseg" else {}
    given = arguments(study, out, **TEN_STEPS | changed)
    return given | {"method": method, "options": options}


IN_PARTS = {"batch": 4, "accumulate": 2}  # two processes with two parts each
COMPARED = {
    "hermes": ("hermes", {}),
    "traditional": ("traditional", {}),
    "multitalent": ("multitalent", {}),
    "hermes in parts": ("hermes", IN_PARTS),
    "multitalent in parts": ("multitalent", IN_PARTS),
    # short ones; decoders that one or neither process uses
    "uniseg in parts": ("uniseg", IN_PARTS | {"epochs": 2}),
    "multi_decoder in parts": ("multi_decoder", IN_PARTS | {"epochs": 2}),
}


@pytest.fixture(scope="module")
def shared(study, tmp_path_factory):
    """What trainings by two processes leave, a folder each."""
    folder = tmp_path_factory.mktemp("shared")
    cases = [case(study, folder / name, *how) for name, how in COMPARED.items()]
    assert in_two_processes(folder, cases) == 0, (folder / "output.txt").read_text()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPARED)
def test_two_processes_have_the_losses_of_one(study, shared, tmp_path, name):
    """At every one of ten steps, each term within 1e-5."""
    method, changed = COMPARED[name]
    train.run(**case(study, tmp_path, method, changed | {"accumulate": 1}))
    alone, together = (read_tsv(f / "metrics.tsv") for f in (tmp_path, shared / name))
    assert len(alone) == len(together) == changed.get("epochs", 10)
    assert [row["step"] for row in together] == [str(n) for n in range(1, len(alone) + 1)]
    for ours, theirs in zip(together, alone, strict=True):
        for term in ("loss", "cross_entropy", "overlap", "modality", "val_loss"):
            apart = abs(float(ours[term]) - float(theirs[term]))
            assert apart <= 1e-5, (ours["step"], term)
    made_with = json.loads((shared / name / "model.json").read_text())["extra"]
    assert made_with["ranks"] == 2


@pytest.mark.slow
def test_torchrun_starts_the_stage_as_the_rule_does(study, shared, tmp_path):
    """`torchrun --nproc-per-node 2 workflow/scripts/stage.py train ...`, as on several machines."""
    given = case(study, tmp_path, *COMPARED["multitalent"])
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    stage = [str(ROOT / "workflow" / "scripts" / "stage.py"), "train", json.dumps(given)]
    paths = json.dumps({"ranks": 2, "threads": 1})
    command = [sys.executable, *torchrun, *stage, paths, str(tmp_path / "log")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path, shared / "multitalent")


@pytest.mark.slow
def test_a_lost_process_and_a_signal_change_nothing(study, shared, tmp_path):
    """Killed at step 3, told to stop later, ended by the rule's own command: the same bytes."""
    given = case(study, tmp_path, "hermes", {"save_minutes": 0.0})
    trap = {"signal": "SIGKILL", "step": 3, "when": "update", "rank": 1}
    assert in_two_processes(tmp_path, [given | {"trap": trap}]) not in (0, STATUS)
    assert torch.load(tmp_path / "state.pt")["step"] == 2
    stage, log = start_stage(given, tmp_path)
    wait_for(lambda: "epoch 4/10" in (log.read_text() if log.exists() else ""), stage)
    stage.send_signal(signal.SIGTERM)
    output = stage.communicate(timeout=100)[1]
    if stage.returncode == STATUS:  # else it was faster than the signal, and is done
        assert "run it again to go on" in log.read_text(), output
        assert torch.load(tmp_path / "state.pt")["step"] >= 4
        stage, log = start_stage(given, tmp_path)
        output = stage.communicate(timeout=100)[1]
        assert "going on after step" in log.read_text()
    assert stage.returncode == 0, output
    assert torch.load(tmp_path / "state.pt")["step"] == 10
    assert_same(tmp_path, shared / "hermes")


def start_stage(given: dict, folder: Path) -> tuple[subprocess.Popen, Path]:
    """The training as the rule starts it, in two processes; returns it and its log."""
    log = folder / "logs" / "train.log"
    log.unlink(missing_ok=True)
    paths = json.dumps({"ranks": 2, "threads": 1})
    script = str(ROOT / "workflow" / "scripts" / "stage.py")
    command = [sys.executable, script, "train", json.dumps(given), paths, str(log)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True), log


def wait_for(happened, process: subprocess.Popen) -> None:
    """Wait until it happened or the process is over."""
    end = time.monotonic() + 100
    while not happened() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.05)
