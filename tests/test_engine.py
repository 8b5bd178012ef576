"""The training engine: reproducible batches, shared tasks, resuming, what a training leaves."""

import dataclasses

import numpy as np
import pytest
import torch
from engine_study import (
    ABDOMEN,
    DATASETS,
    TRAINING,
    arguments,
    assert_same,
    fabricate_study,
)
from safetensors.torch import load_file

from hermes import train
from hermes.batch import collate
from hermes.config.study_schema import MACHINE, Training
from hermes.dataset import CropDataset, PartsDataset, TrainingSet, run_seed
from hermes.files.tables import read_tsv
from hermes.train import data as training_data
from hermes.train import loop as training_loop
from hermes.train.checkpoint import fingerprint


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return fabricate_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def unbroken(study, tmp_path_factory):
    """What a training without interruption leaves."""
    out = tmp_path_factory.mktemp("unbroken")
    train.run(**arguments(study, out))
    return out


def interrupted(given, monkeypatch):
    """Run a training that fails in the first step of its second epoch."""
    step = training_loop.train_step

    def failing(progress, *rest):
        if progress.step == 2:
            raise KeyboardInterrupt
        step(progress, *rest)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(training_loop, "train_step", failing)
        train.run(**given)


def crops(study, batch=8, seed=5, tasks=(*ABDOMEN, "pet/lesion")):
    sets = [
        TrainingSet(d["name"], tuple(d["tasks"]), study / d["name"], ("a", "b"), 1.0, 0.2)
        for d in DATASETS
    ]
    return CropDataset(
        sets,
        tasks,
        size=(32, 32, 32),
        batch=batch,
        steps=4,
        seed=seed,
        sampling="published",
        foreground=0.5,
    )


def assert_same_batch(one, other):
    for name, value in vars(one).items():
        assert torch.equal(value, getattr(other, name)), name


def test_a_batch_depends_on_seed_and_step_alone(study):
    forward, backward = crops(study), crops(study)
    ahead = [forward[step] for step in (0, 1, 2)]
    back = [backward[step] for step in (2, 1, 0)][::-1]
    for one, other in zip(ahead, back, strict=True):
        assert_same_batch(one, other)
    assert not torch.equal(ahead[0].image, ahead[1].image)
    assert not torch.equal(ahead[0].image, crops(study, seed=6)[0].image)


def test_datasets_of_a_family_ask_for_the_same_tasks(study):
    batch = crops(study, batch=24)[0]
    assert set(batch.dataset.tolist()) == {0, 1, 2}
    asked = {0: [0, 1], 1: [0, 1], 2: [2, -1]}
    for dataset, tasks in zip(batch.dataset.tolist(), batch.tasks.tolist(), strict=True):
        assert tasks == asked[dataset]
    assert torch.equal(batch.modality, torch.tensor([0, 2, 1])[batch.dataset])


def test_a_dataset_without_cases_keeps_its_place(study):
    """Methods with a code per dataset need its place in the run, also where another is empty."""
    sets = [
        TrainingSet("empty", ("x/y",), study, (), 1.0, 0.2),
        TrainingSet(
            DATASETS[0]["name"], tuple(ABDOMEN), study / DATASETS[0]["name"], ("v",), 1.0, 0.2
        ),
    ]
    drawn = {"size": (32, 32, 32), "batch": 2, "steps": 1, "seed": 1, "foreground": 0.0}
    data = CropDataset(sets, ("x/y", *ABDOMEN), sampling="uniform", some_empty=True, **drawn)
    assert data[0].dataset.tolist() == [1, 1]
    with pytest.raises(ValueError, match="no cases to draw from in: empty"):
        CropDataset(sets, ("x/y", *ABDOMEN), sampling="uniform", **drawn)


def test_collate_pads_tasks_and_values():
    def sample(tasks):
        image, label = np.zeros((2, 3, 4), np.float32), np.zeros((2, 3, 4), np.uint8)
        rest = {"dataset": 0, "modality": -1, "probability": 0.1}
        return {"image": image, "label": label, "tasks": tasks} | rest

    batch = collate([sample([4]), sample([7, 0, 2])])
    assert batch.image.shape == (2, 1, 2, 3, 4)
    assert batch.label.shape == (2, 2, 3, 4)
    assert batch.tasks.tolist() == [[4, -1, -1], [7, 0, 2]]
    assert batch.values.tolist() == [[1, 0, 0], [1, 2, 3]]


def test_cases_without_a_reference_are_not_trained_on(study, caplog):
    given = arguments(study, study)
    sets = training_data.sets(DATASETS, given["folders"], given["splits"], "train")
    assert [s.cases for s in sets] == [("a", "b")] * 3
    assert "toy_ct: no reference, left out of train: bare" in caplog.text


def test_a_resumed_training_ends_as_an_unbroken_one(study, unbroken, tmp_path, monkeypatch):
    given = arguments(study, tmp_path)
    interrupted(given, monkeypatch)
    assert (tmp_path / "state.pt").is_file()
    assert not (tmp_path / "model.safetensors").exists()
    step, done = training_loop.train_step, []
    monkeypatch.setattr(
        training_loop, "train_step", lambda p, *rest: done.append(p.step) or step(p, *rest)
    )
    train.run(**given)
    assert done == [2, 3, 4, 5]
    assert_same(tmp_path, unbroken)


def test_a_state_of_other_settings_is_not_taken_up(study, unbroken, tmp_path, monkeypatch, caplog):
    interrupted(arguments(study, tmp_path, learning_rate=0.01), monkeypatch)
    train.run(**arguments(study, tmp_path))
    assert "starting afresh" in caplog.text
    assert_same(tmp_path, unbroken)


def test_a_training_goes_on_with_other_machinery(study, unbroken, tmp_path, monkeypatch, caplog):
    other = {"accumulate": 2, "workers": 1, "threads": 2, "save_minutes": 1.0, "ranks": 1}
    assert set(other) == set(MACHINE)
    interrupted(arguments(study, tmp_path, **other), monkeypatch)
    with caplog.at_level("INFO"):
        train.run(**arguments(study, tmp_path))
    assert "going on after step 2" in caplog.text
    ours, theirs = (read_tsv(folder / "metrics.tsv") for folder in (tmp_path, unbroken))
    for one, other in zip(ours, theirs, strict=True):
        assert np.isclose(float(one["loss"]), float(other["loss"]), rtol=1e-3)


def start(mark="ours"):
    settings = Training(**TRAINING)
    spec = train.make_spec("hermes", "resunet", {}, DATASETS, settings)
    progress = train.start(spec, settings, run_seed(3, "toy"), torch.device("cpu"))
    return dataclasses.replace(progress, fingerprint=mark)


@pytest.mark.parametrize("workers", [1, 2])
def test_loading_processes_change_nothing(study, unbroken, tmp_path, workers):
    train.run(**arguments(study, tmp_path, workers=workers))
    assert_same(tmp_path, unbroken)


def test_parts_are_the_rows_of_the_whole_batch(study):
    whole = crops(study, batch=8)
    batch = whole[3]
    parts = [
        part
        for rank in range(2)
        for part in PartsDataset(whole, rank=rank, ranks=2, accumulate=2)[3]
    ]
    for name, value in vars(batch).items():
        together = torch.cat([getattr(part.batch, name) for part in parts])
        assert torch.equal(together, value), name
    assert [part.rows for part in parts] == [slice(n, n + 2) for n in (0, 2, 4, 6)]
    assert all(torch.equal(part.probability, batch.probability) for part in parts)
    real = (batch.values > 0).sum(1)
    for part in parts:
        assert part.pairs == pytest.approx(int(real[part.rows].sum()) / int(real.sum()))
    assert len({part.pairs for part in parts}) > 1


def test_parts_are_augmented_as_the_whole_batch(study):
    settings = Training(**TRAINING | {"crop": (28, 28, 28), "batch": 8})
    whole = crops(study, batch=8)
    (alone,) = PartsDataset(whole, rank=0, ranks=1, accumulate=1)[1]
    alone = training_data.augmented(alone, settings, 1, 7).batch
    for rank in range(2):
        for part in PartsDataset(whole, rank=rank, ranks=2, accumulate=2)[1]:
            own = training_data.augmented(part, settings, 1, 7).batch
            assert torch.equal(own.image, alone.image[part.rows])
            assert torch.equal(own.label, alone.label[part.rows])


def test_a_batch_that_cannot_be_shared_says_so(study):
    with pytest.raises(ValueError, match=r"8 crops per step .* 3 processes"):
        PartsDataset(crops(study, batch=8), rank=0, ranks=3, accumulate=1)


def test_few_cases_are_held_open(study, monkeypatch):
    few, all_open = crops(study), crops(study)
    batches = [all_open[step] for step in range(2)]
    monkeypatch.setattr("hermes.dataset.OPEN_CASES", 2)
    for step in range(2):
        assert_same_batch(few[step], batches[step])
    assert len(few.opened) == 2
    assert len(few.facts) == len(all_open.opened) > 2


@pytest.mark.parametrize("damage", ["empty", "noise", "cut", "foreign", "lacking", "list", "other"])
def test_a_state_that_cannot_be_used_says_so(study, tmp_path, damage):
    path, progress = tmp_path / "state.pt", start()
    start("theirs" if damage == "other" else "ours").save(path)
    whole = path.read_bytes()
    contents = {"empty": b"", "noise": b"noise" * 9, "cut": whole[: len(whole) // 2]}
    if damage in contents:
        path.write_bytes(contents[damage])
    others = {"foreign": {"weights": 1}, "list": [1], "lacking": {"fingerprint": "ours"}}
    if damage in others:
        torch.save(others[damage], path)
    with pytest.raises(ValueError, match=r"state\.pt"):
        progress.load(path, torch.device("cpu"))


@pytest.mark.parametrize("changed", ["split.tsv", "cases.tsv", "settings"])
def test_the_fingerprint_follows_what_is_trained_on(tmp_path, changed):
    for name in ("split.tsv", "cases.tsv"):
        (tmp_path / name).write_text("a\n")
    parts, split = ["spec", 1], tmp_path / "split.tsv"
    before = fingerprint(parts, [split], [tmp_path])
    assert before == fingerprint(parts, [split], [tmp_path])
    if changed == "settings":
        parts = ["spec", 2]
    else:
        (tmp_path / changed).write_text("b\n")
    assert fingerprint(parts, [split], [tmp_path]) != before


def test_runs_of_a_study_have_seeds_of_their_own():
    assert len({run_seed(seed, run) for seed in (0, 1) for run in ("amos", "kits")}) == 4
    assert run_seed(0, "amos") == run_seed(0, "amos")


def test_training_moves_the_weights(study, unbroken):
    fresh = start().model.state_dict()
    trained = load_file(unbroken / "model.safetensors")
    assert fresh.keys() == trained.keys()
    moved = [name for name in fresh if not torch.equal(fresh[name], trained[name])]
    assert len(moved) > 0.9 * len(fresh)


def test_metrics_have_a_row_per_epoch(unbroken):
    rows = read_tsv(unbroken / "metrics.tsv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())
