"""The training engine: reproducible batches, shared tasks, resuming, what a training leaves."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hermes import train
from hermes.dataset import CropDataset, TrainingSet, collate, run_seed
from hermes.store import save_case
from hermes.study_schema import Training
from hermes.tables import read_tsv, write_tsv

ABDOMEN = ["abdomen/liver", "abdomen/spleen"]
DATASETS = [
    {"name": name, "tasks": tasks, "weight": 1.0, "augmentation_probability": 0.2}
    for name, tasks in (("toy_ct", ABDOMEN), ("toy_mr", ABDOMEN), ("toy_pet", ["pet/lesion"]))
]
MODALITY = {"toy_ct": "ct", "toy_mr": "t1", "toy_pet": "pet"}
SPLIT = {"a": "train", "b": "train", "v": "val", "bare": "train"}
TRAINING = {
    "base_channels": 4,
    "crop": (32, 32, 32),
    "margin": 4,
    "batch": 2,
    "epochs": 3,
    "iterations": 2,
    "validation_crops": 1,
    "foreground": 0.5,
    "precision": "float32",
}


def fabricate_dataset(folder, dataset):
    """Prepared cases of 40 x 36 x 38 voxels; `bare` has no reference."""
    folder.mkdir()
    name, classes = dataset["name"], len(dataset["tasks"])
    generator = np.random.default_rng(len(name) + classes)
    for case in SPLIT:
        label = None if case == "bare" else np.zeros((40, 36, 38), np.uint8)
        image = generator.standard_normal((40, 36, 38)).astype(np.float32)
        points = {}
        for k in range(1, 1 + classes) if label is not None else ():
            label[10 * k : 10 * k + 8, 8:20, 8:20] = k
            image[label == k] += 2 * k
            points[str(k)] = [[10 * k + 4, 14, 14]]
        save_case(folder, case, image, label, {"modality": MODALITY[name], "foreground": points})
    counts = {case: "" if case == "bare" else ",".join(["1152"] * classes) for case in SPLIT}
    rows = [{"case": case, "foreground_voxels": count} for case, count in counts.items()]
    write_tsv(folder / "cases.tsv", ("case", "foreground_voxels"), rows)
    split = [{"case": case, "split": part} for case, part in SPLIT.items()]
    write_tsv(folder / "split.tsv", ("case", "split"), split)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Folder of three prepared datasets; two share their tasks."""
    root = tmp_path_factory.mktemp("study")
    for dataset in DATASETS:
        fabricate_dataset(root / dataset["name"], dataset)
    return root


def arguments(study, out, **training):
    """Of train.run."""
    folders = [str(study / d["name"]) for d in DATASETS]
    return {
        "name": "toy",
        "method": "hermes",
        "options": {},
        "backbone": "resunet",
        "datasets": DATASETS,
        "folders": folders,
        "splits": [f"{folder}/split.tsv" for folder in folders],
        "training": TRAINING | training,
        "preparation": {},
        "seed": 3,
        "model": out / "model.safetensors",
        "metrics": out / "metrics.tsv",
        "checkpoint": out / "state.pt",
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def unbroken(study, tmp_path_factory):
    """What a training without interruption leaves."""
    out = tmp_path_factory.mktemp("unbroken")
    train.run(**arguments(study, out))
    return out


def interrupted(given, monkeypatch):
    """Run a training that is killed in its second epoch."""
    epoch = train._epoch

    def killed(progress, *rest):
        if progress.epoch == 1:
            raise KeyboardInterrupt
        return epoch(progress, *rest)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(train, "_epoch", killed)
        train.run(**given)
    assert given["checkpoint"].is_file()
    assert not given["model"].exists()


def assert_same(out, other):
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (out, other))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (out / "metrics.tsv").read_bytes() == (other / "metrics.tsv").read_bytes()


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
    sets = train._sets(DATASETS, given["folders"], given["splits"], "train")
    assert [s.cases for s in sets] == [("a", "b")] * 3
    assert "toy_ct: no reference, left out of train: bare" in caplog.text


def test_a_resumed_training_ends_as_an_unbroken_one(study, unbroken, tmp_path, monkeypatch):
    given = arguments(study, tmp_path)
    interrupted(given, monkeypatch)
    first = train._epoch
    done = []
    monkeypatch.setattr(train, "_epoch", lambda p, *rest: done.append(p.epoch) or first(p, *rest))
    train.run(**given)
    assert done == [1, 2]
    assert_same(tmp_path, unbroken)
    assert not given["checkpoint"].exists()


def test_a_state_of_other_settings_is_not_taken_up(study, unbroken, tmp_path, monkeypatch, caplog):
    interrupted(arguments(study, tmp_path, learning_rate=0.01), monkeypatch)
    train.run(**arguments(study, tmp_path))
    assert "starting afresh" in caplog.text
    assert_same(tmp_path, unbroken)


def start(study, mark="ours"):
    settings = Training(**TRAINING)
    spec = train.make_spec("hermes", "resunet", {}, DATASETS, settings)
    return train._start(spec, settings, run_seed(3, "toy"), torch.device("cpu"), mark)


@pytest.mark.parametrize("damage", ["empty", "noise", "cut", "foreign", "other"])
def test_a_state_that_cannot_be_used_says_so(study, tmp_path, damage):
    path, progress = tmp_path / "state.pt", start(study)
    start(study, "theirs" if damage == "other" else "ours").save(path)
    whole = path.read_bytes()
    contents = {"empty": b"", "noise": b"noise" * 9, "cut": whole[: len(whole) // 2]}
    if damage in contents:
        path.write_bytes(contents[damage])
    if damage == "foreign":
        torch.save({"weights": 1}, path)
    with pytest.raises(ValueError, match=r"state\.pt"):
        progress.load(path, torch.device("cpu"))


@pytest.mark.parametrize("changed", ["split.tsv", "cases.tsv", "settings"])
def test_the_fingerprint_follows_what_is_trained_on(tmp_path, changed):
    for name in ("split.tsv", "cases.tsv"):
        (tmp_path / name).write_text("a\n")
    parts, split = ["spec", 1], tmp_path / "split.tsv"
    before = train.fingerprint(parts, [split], [tmp_path])
    assert before == train.fingerprint(parts, [split], [tmp_path])
    if changed == "settings":
        parts = ["spec", 2]
    else:
        (tmp_path / changed).write_text("b\n")
    assert train.fingerprint(parts, [split], [tmp_path]) != before


def test_runs_of_a_study_have_seeds_of_their_own():
    assert len({run_seed(seed, run) for seed in (0, 1) for run in ("amos", "kits")}) == 4
    assert run_seed(0, "amos") == run_seed(0, "amos")


def test_training_moves_the_weights(study, unbroken):
    fresh = start(study).model.state_dict()
    trained = load_file(unbroken / "model.safetensors")
    assert fresh.keys() == trained.keys()
    moved = [name for name in fresh if not torch.equal(fresh[name], trained[name])]
    assert len(moved) > 0.9 * len(fresh)


def test_metrics_have_a_row_per_epoch(unbroken):
    rows = read_tsv(unbroken / "metrics.tsv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())
