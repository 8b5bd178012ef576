"""A training that is killed or told to stop goes on from its last state to the same bytes."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from engine_study import arguments, assert_same, fabricate_study

from hermes import train
from hermes.files.atomic import WriteError
from hermes.jobs.interruption import STATUS, Interrupted, Notice
from hermes.train import loop as training_loop

ROOT = Path(__file__).parents[1]
STEPS = 6  # three epochs of two


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return fabricate_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def unbroken(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken")
    train.run(**arguments(study, out, accumulate=2))
    return out


def given(study, out, **changed):
    """Two parts a step, a state saved at every step."""
    return arguments(study, out, **{"accumulate": 2, "save_minutes": 0.0} | changed)


def train_apart(folder: Path, case: dict) -> subprocess.CompletedProcess:
    """Train in a process of its own, and with processes of its own that read crops."""
    (folder / "cases.json").write_text(json.dumps([case]))
    command = [sys.executable, str(ROOT / "tests" / "train_process.py"), str(folder / "cases.json")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        start_new_session=True,
    )


def steps_saved(folder: Path) -> int:
    return torch.load(folder / "state.pt")["step"]


@pytest.mark.slow
def test_three_kills_and_a_signal_leave_the_bytes_of_an_unbroken_training(
    study, unbroken, tmp_path
):
    """Killed within a step, while a state is being written and after a step; stopped by SIGTERM.

    The signal reaches the processes that read crops as well, as a batch system sends it.
    """
    first, second, third, last = sorted(random.Random(5).sample(range(2, STEPS + 1), 4))
    case = given(study, tmp_path, workers=2)

    trap = {"signal": "SIGKILL", "step": first, "when": "update"}
    assert train_apart(tmp_path, case | {"trap": trap}).returncode == -signal.SIGKILL
    assert steps_saved(tmp_path) == first - 1

    trap = {"signal": "SIGTERM", "step": second, "when": "update", "group": True}
    done = train_apart(tmp_path, case | {"trap": trap})
    assert done.returncode == STATUS, done.stderr
    assert f"stopped by SIGTERM, the state after step {second} is saved" in done.stderr
    assert "Traceback" not in done.stderr
    assert steps_saved(tmp_path) == second

    trap = {"signal": "SIGKILL", "step": third, "when": "saving"}
    assert train_apart(tmp_path, case | {"trap": trap}).returncode == -signal.SIGKILL
    assert steps_saved(tmp_path) == third - 1
    assert list(tmp_path.glob(".*.state.pt"))

    trap = {"signal": "SIGKILL", "step": last, "when": "done"}
    assert train_apart(tmp_path, case | {"trap": trap}).returncode == -signal.SIGKILL
    assert not list(tmp_path.glob(".*.state.pt"))

    assert train_apart(tmp_path, case).returncode == 0
    assert_same(tmp_path, unbroken)
    assert not list(tmp_path.glob(".*.state.pt"))


def test_outputs_that_are_lost_after_the_end_cost_no_steps(study, unbroken, tmp_path, monkeypatch):
    case = given(study, tmp_path)
    train.run(**case)
    for name in ("model.safetensors", "model.json", "metrics.tsv"):
        next(tmp_path.rglob(name)).unlink()

    def never(*_):
        raise AssertionError("a step")

    monkeypatch.setattr(training_loop, "train_step", never)
    train.run(**case)
    assert_same(tmp_path, unbroken)


def test_a_state_of_other_code_is_not_taken_up(study, tmp_path, monkeypatch, caplog):
    train.run(**given(study, tmp_path))
    monkeypatch.setattr(train, "code_hash", lambda module: "edited")
    steps = []
    step = training_loop.train_step
    monkeypatch.setattr(training_loop, "train_step", lambda p, *r: (step(p, *r), steps.append(1)))
    train.run(**given(study, tmp_path))
    assert len(steps) == STEPS
    assert (
        "starting afresh" in caplog.text and "of other settings, code, cases or seed" in caplog.text
    )


def at_step(monkeypatch, number: int, happening) -> None:
    """Let something happen after a step, counted from 1."""
    step = training_loop.train_step

    def wrapped(progress, *rest):
        step(progress, *rest)
        if progress.step == number:
            happening()

    monkeypatch.setattr(training_loop, "train_step", wrapped)


@pytest.mark.parametrize(
    ("name", "number"),
    [("SIGTERM", 3), ("SIGUSR1", 4), ("SIGINT", 5)],
    ids=["within an epoch", "at the end of one", "Ctrl-C"],
)
def test_a_signal_saves_the_state_and_ends_with_the_status(
    study, unbroken, tmp_path, monkeypatch, caplog, name, number
):
    case = given(study, tmp_path, save_minutes=60.0)
    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patched, pytest.raises(Interrupted) as left:
        at_step(patched, number, lambda: os.kill(os.getpid(), signal.Signals[name]))
        train.run(**case)
    assert left.value.code == STATUS == 75
    assert f"stopped by {name}, the state after step {number} is saved" in caplog.text
    assert steps_saved(tmp_path) == number
    assert signal.getsignal(signal.SIGTERM) is handler
    train.run(**case)
    assert_same(tmp_path, unbroken)


def test_within_an_epoch_the_clock_decides_when_to_save(study, tmp_path, monkeypatch):
    def end():
        raise KeyboardInterrupt

    for minutes, saved in ((60.0, 2), (0.0, 3)):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            at_step(patched, 4, end)
            train.run(**given(study, tmp_path, save_minutes=minutes))
        assert steps_saved(tmp_path) == saved


def test_a_disk_that_is_full_is_named_and_the_last_state_stays(study, tmp_path, monkeypatch):
    """The size of files is limited for a while: writing fails as it does on a full disk."""
    path = tmp_path / "state.pt"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = []

    def fill():
        before.append(path.read_bytes())
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))

    try:
        with monkeypatch.context() as patched, pytest.raises(WriteError) as error:
            at_step(patched, 3, fill)
            train.run(**given(study, tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(error.value).startswith(f"{path}: cannot be written: files may not be larger")
    assert "the last state is kept" in str(error.value)
    assert path.read_bytes() == before[0]
    assert steps_saved(tmp_path) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]


def test_a_second_ctrl_c_does_not_wait():
    with pytest.raises(KeyboardInterrupt), Notice() as notice:
        os.kill(os.getpid(), signal.SIGINT)
        assert notice.received == "SIGINT"
        os.kill(os.getpid(), signal.SIGINT)


def test_no_signal_is_caught_where_nothing_is_trained():
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1)]
    with Notice() as notice:
        assert not notice.received
        os.kill(os.getpid(), signal.SIGUSR1)
        assert notice.received == "SIGUSR1"
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1)] == before
