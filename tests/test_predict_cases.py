"""A prediction that was killed goes on with the next case; whatever has changed is made again."""

import os

import numpy as np
import pytest
import torch

from hermes import predict
from hermes.files.records import RECORDS
from hermes.files.store import save_case
from hermes.files.tables import write_tsv
from hermes.models.build import ModelSpec, build_model, save_model
from hermes.predict import cases

SIZE = (32, 30, 36)
TASKS = ("toy/liver", "toy/spleen")
SPEC = ModelSpec("traditional", "resunet", 4, TASKS, {"toy": TASKS}, ("ct", "unknown"))
AFFINE = [float(x) for x in np.diag([-2.0, -2.0, 2.0, 1.0]).ravel()]
META = {
    "modality": "ct",
    "canonical_affine": AFFINE,
    "canonical_size": SIZE,
    "native_affine": AFFINE,
    "native_size": SIZE[::-1],
    "grid_size": SIZE,
    "grid_spacing_mm": [2.0, 2.0, 2.0],
}


class Killed(BaseException):
    """The process is ended before the case that this was raised for."""


def image(folder, case, seed):
    drawn = np.random.default_rng(seed).standard_normal(SIZE).astype(np.float32)
    save_case(folder, case, drawn, np.ones(SIZE, np.uint8), META | {"case": case})


def model(folder, seed, method=SPEC):
    torch.manual_seed(seed)
    told = {"training": {"crop": [32, 32, 32], "precision": "float32"}}
    save_model(folder / "model", build_model(method), method, told)


def split(folder, *cases):
    write_tsv(
        folder / "split.tsv", ("case", "split"), [{"case": c, "split": "test"} for c in cases]
    )


@pytest.fixture
def study(tmp_path):
    for seed, case in enumerate("abc"):
        image(tmp_path, case, seed)
    split(tmp_path, "a", "b", "c")
    model(tmp_path, seed=0)
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """The cases that are given to the network, in order; `Killed` is raised for those in `ends`."""
    inner = predict.predict_case

    class Asked(list):
        ends = ()

    cases = Asked()

    def told(network, spec, dataset, folder, case, *others):
        if case in cases.ends:
            raise Killed
        cases.append(case)
        return inner(network, spec, dataset, folder, case, *others)

    monkeypatch.setattr(predict, "predict_case", told)
    return cases


def run(study, out="out", name="cases.tsv", **values):
    """Predict, and give back the manifest's bytes."""
    threshold = values.pop("threshold", 0.5)
    given = {"folder": study, "split": study / "split.tsv", "device": "cpu"} | values
    predict.run(
        name="toy-run",
        model=study / "model" / "model.safetensors",
        dataset="toy",
        out=study / out / name,
        prediction={"stride": 1.0, "batch": 1, "threshold": threshold},
        **given,
    )
    return (study / out / name).read_bytes()


def everything(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_killed_after_a_case_it_goes_on_with_the_next_to_the_same_bytes(study, asked, caplog):
    caplog.set_level("INFO")
    run(study, "unbroken")
    asked.clear()
    asked.ends = ("b",)
    with pytest.raises(Killed):
        run(study)
    assert not (study / "out" / "cases.tsv").exists()
    asked.ends = ()
    run(study)
    assert asked == ["a", "b", "c"]
    assert everything(study / "out") == everything(study / "unbroken")
    assert "3 cases (1 of them done before)" in caplog.text
    run(study)
    assert asked == ["a", "b", "c"]


def test_killed_between_a_cases_files_it_makes_both_again(study, asked, monkeypatch):
    before = run(study)
    model(study, seed=1)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(predict, "write_nifti", lambda *_, **__: (_ for _ in ()).throw(Killed))
        run(study)
    model(study, seed=0)
    asked.clear()
    assert run(study) == before
    assert asked == ["a"]


CHANGES = {
    "weights": lambda study: model(study, seed=1),
    "description": lambda study: model(
        study, seed=0, method=ModelSpec(*list(vars(SPEC).values())[:-2], prior_length=7)
    ),
    "image": lambda study: [image(study, case, seed=9) for case in "abc"],
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_prediction_is_made_of_has_changed(study, asked, change):
    run(study)
    CHANGES[change](study)
    asked.clear()
    run(study)
    assert asked == ["a", "b", "c"]


@pytest.mark.parametrize(
    "value",
    [{"threshold": 0.4}, {"test_crop": "reference"}, {"threads": 2}],
    ids=str,
)
def test_how_it_is_predicted_has_changed(study, asked, value):
    run(study)
    asked.clear()
    run(study, **value)
    assert asked == ["a", "b", "c"]


def test_the_code_has_changed(study, asked, monkeypatch):
    run(study)
    monkeypatch.setattr(cases, "code_hash", lambda module: f"another {module}")
    asked.clear()
    run(study)
    assert asked == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["b.nii.gz", "b_grid.b2nd"])
def test_a_file_that_is_not_the_one_that_was_written_is_made_again(study, asked, name):
    before = run(study)
    path = study / "out" / name
    whole = path.read_bytes()
    for damaged in (whole[:-10], whole[:-1] + bytes([whole[-1] ^ 1]), None):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        asked.clear()
        assert run(study) == before
        assert asked == ["b"]
        assert path.read_bytes() == whole


def test_one_job_alone_removes_what_belongs_to_no_test_case(study):
    run(study)
    split(study, "a", "b")
    aside = study / "out" / f".elsewhere.{os.getpid()}.b.nii.gz"
    aside.touch()
    run(study)
    found = {path.relative_to(study / "out").as_posix() for path in (study / "out").rglob("*.*")}
    files = {f"{case}{ending}" for case in "ab" for ending in (".nii.gz", "_grid.b2nd")}
    assert found == {"cases.tsv", RECORDS, *(f"{RECORDS}/{case}.json" for case in "ab"), *files}


def test_shards_leave_each_others_cases_alone_and_are_passed_over_by_one_job(study, asked):
    whole = run(study, "whole")
    shards = [study / "out" / f"shard_{i}.tsv" for i in (0, 1)]
    for i, path in enumerate(shards):
        run(study, name=path.name, shard=(i, 2))
    split(study, "a", "b", "c")
    assert run(study, shards=shards) == whole
    asked.clear()
    assert run(study) == whole
    assert not asked
    split(study, "a", "b")
    for i, path in enumerate(shards):
        run(study, name=path.name, shard=(i, 2))
    assert (study / "out" / "c.nii.gz").exists()
    run(study, shards=shards)
    assert not (study / "out" / "c.nii.gz").exists()
