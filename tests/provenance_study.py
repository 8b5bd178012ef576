"""A study of two small datasets with every file that a table hangs on, made without a network."""

import hashlib
import json
import os
from pathlib import Path

from hermes.files.tables import write_tsv
from hermes.origin import environment, file_hash
from hermes.report import tables

DATASETS = {"aa": ("liver", "spleen"), "bb": ("liver",)}
RUNS = {"net-aa": ["aa"], "net-bb": ["bb"], "joint": ["aa", "bb"]}
DICE = {"net-aa": 0.5, "net-bb": 0.25, "joint": 0.75}
FILES = {
    "raw": "data/s/raw/{dataset}.json",
    "canonical": "data/s/canonical/{dataset}/cases.tsv",
    "preprocessed": "data/s/preprocessed/{dataset}/cases.tsv",
    "split": "results/s/splits/{dataset}.tsv",
    "model": "results/s/models/{run}/model.json",
    "origin": "results/s/models/{run}/origin.json",
    "predictions": "results/s/predictions/{run}/{dataset}/cases.tsv",
    "scores": "results/s/scores/{run}/{dataset}.tsv",
}
SPLIT = {"p1": "train", "p2": "val", "p3": "test", "p4": "test"}
SETTINGS = {
    "without": ["cc"],
    "protocol": {"split": "reference"},
    "accept": [],
    "device": "auto",
    "gpus": "auto",
    "nodes": 1,
    "strict": False,
}


def build(root: Path) -> Path:
    """Everything below a folder that becomes the working one; the table's CSV."""
    os.chdir(root)
    Path("Snakefile").touch()
    for dataset in DATASETS:
        data(dataset)
    for run, datasets in RUNS.items():
        model(run, datasets)
        for dataset in datasets:
            predictions(run, dataset)
            scores(run, dataset)
    return table()


def data(dataset: str) -> None:
    """Raw files and their manifest, case tables, split."""
    raw = Path("data/s/raw") / dataset
    raw.mkdir(parents=True)
    entries = []
    for patient in SPLIT:
        path = raw / f"{patient}.nii"
        path.write_text(dataset + patient)
        entries.append({"path": path.name, "bytes": 4, "sha256": file_hash(path)})
    archives = [{"filename": f"{dataset}.zip", "md5": "0" * 32}]
    listed = {"dataset": dataset, "source": "download", "archives": archives, "files": entries}
    raw.with_suffix(".json").write_text(json.dumps(listed))
    for kind in ("canonical", "preprocessed"):
        rows = [{"case": case, "note": kind} for case in SPLIT]
        write_tsv(FILES[kind].format(dataset=dataset), ("case", "note"), rows)
    rows = [{"case": case, "patient": case, "split": part} for case, part in SPLIT.items()]
    write_tsv(FILES["split"].format(dataset=dataset), ("case", "patient", "split"), rows)


def model(run: str, datasets: list[str]) -> None:
    """Weights (any bytes), their description and origin."""
    folder = Path(FILES["model"].format(run=run)).parent
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text(f"weights of {run}")
    made_of = {
        name: {
            "cases": file_hash(FILES["preprocessed"].format(dataset=name)),
            "split": file_hash(FILES["split"].format(dataset=name)),
        }
        for name in datasets
    }
    spec = {
        "method": "traditional",
        "backbone": "resunet",
        "base_channels": 4,
        "tasks": ["a/liver"],
        "datasets": {"a": ["a/liver"]},
        "modalities": ["unknown"],
    }
    training = {"epochs": 2, "iterations": 3, "batch": 4 if run == "joint" else 1}
    extra = {"seed": 1, "training": training, "data": made_of, "device": "a CPU", "ranks": 1}
    weights = file_hash(folder / "model.safetensors")
    record = {"spec": spec, "weights_sha256": weights, "extra": extra}
    (folder / "model.json").write_text(json.dumps(record))
    (folder / "origin.json").write_text(json.dumps(environment() | {"code_sha256": "c" * 64}))


def predictions(run: str, dataset: str) -> None:
    """Predicted files of the test cases and their manifest."""
    manifest = Path(FILES["predictions"].format(run=run, dataset=dataset))
    manifest.parent.mkdir(parents=True)
    weights = file_hash(Path(FILES["model"].format(run=run)).with_suffix(".safetensors"))
    rows = []
    for case in ("p3", "p4"):
        row = {"case": case, "model_sha256": weights}
        for kind, ending in (("native", ".nii.gz"), ("grid", "_grid.b2nd")):
            path = manifest.parent / f"{case}{ending}"
            path.write_text(run + case + kind)
            row |= {kind: path.name, f"{kind}_sha256": file_hash(path)}
        rows.append(row)
    write_tsv(manifest, tuple(rows[0]), rows)


def scores(run: str, dataset: str) -> None:
    """Dice of every test case and class; the last case has a tenth less."""
    rows = [
        {"case": case, "structure": name, "metric": "dice", "value": f"{value:.6f}", "grid": grid}
        for case, value in (("p3", DICE[run]), ("p4", DICE[run] - 0.1))
        for name in DATASETS[dataset]
        for grid in ("model", "native")
    ]
    path = Path(FILES["scores"].format(run=run, dataset=dataset))
    write_tsv(path, ("case", "structure", "metric", "value", "grid"), rows)


def table() -> Path:
    """Render the table of what lies there."""
    columns = [
        {
            "key": key,
            "title": key.upper(),
            "parts": [{"dataset": key, "structures": []}],
            "mean": "classes",
            "below": None,
            "left_out": [],
        }
        for key in DATASETS
    ]
    each = {"model": "Each", "runs": {"aa": "net-aa", "bb": "net-bb"}}
    joint = {"model": "Joint", "runs": {"aa": "joint", "bb": "joint"}}
    scored = {
        run: {name: FILES["scores"].format(run=run, dataset=name) for name in names}
        for run, names in RUNS.items()
    }
    common = {"epochs": 2, "iterations": 3, "batch": 1}
    content = {"study": {"train": common}, "cards": {}, "runs": {}}
    tables.run(
        table={
            "title": "Dice of two",
            "columns": columns,
            "rows": [each, joint],
            "average": "avg",
            "reference": "Each",
            "left_out": [],
            "within_patient": [],
        },
        scores=scored,
        splits={name: FILES["split"].format(dataset=name) for name in DATASETS},
        models=[FILES["model"].format(run=run) for run in RUNS],
        published="",
        study={
            "study": "s",
            "title": "S",
            "label": "a label",
            "seed": 1,
            "config_sha256": hashlib.sha256(b"").hexdigest(),
            "configuration": content,
        },
        csv="results/s/t.csv",
        intervals="results/s/t_intervals.csv",
        markdown="results/s/t.md",
        sidecar="results/s/t.json",
        links=FILES,
        used=list(DATASETS),
        settings=SETTINGS,
    )
    return Path("results/s/t.csv")
