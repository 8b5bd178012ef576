"""The curve that a person watches while a training runs: a row per epoch, each of them once."""

import os
import signal

import pytest
from engine_study import arguments, fabricate_study

from hermes import train
from hermes.files.tables import read_tsv
from hermes.jobs.interruption import Interrupted
from hermes.train import loop as training_loop


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return fabricate_study(tmp_path_factory.mktemp("study"))


def watching(study, out, **training):
    return arguments(study, out, **training) | {"curve": str(out / "toy.curve.tsv")}


def epochs(case):
    return [row["epoch"] for row in read_tsv(case["curve"])]


def test_a_curve_grows_by_the_epoch_and_goes_on_after_an_interruption(study, tmp_path, monkeypatch):
    case = watching(study, tmp_path)
    step, seen = training_loop.train_step, []

    def stopped(progress, *rest):
        step(progress, *rest)
        seen.append(epochs(case))
        if progress.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(training_loop, "train_step", stopped)
        train.run(**case)
    assert seen == [[], [], ["1"], ["1"], ["1", "2"]]
    train.run(**case)
    assert epochs(case) == ["1", "2", "3"]
    assert (tmp_path / "toy.curve.tsv").read_bytes() == (tmp_path / "metrics.tsv").read_bytes()


def test_a_curve_never_says_more_than_the_state_that_a_training_goes_on_from(
    study, tmp_path, monkeypatch
):
    """A curve of other settings is left over; and the state after its last epoch was lost."""
    case = watching(study, tmp_path, epochs=1)
    train.run(**case)
    assert epochs(case) == ["1"]
    step, seen = training_loop.train_step, []

    def looking(progress, *rest):
        seen.append(epochs(case))
        step(progress, *rest)

    monkeypatch.setattr(training_loop, "train_step", looking)
    train.run(**watching(study, tmp_path, epochs=1, learning_rate=0.02))
    assert seen == [[], []]
