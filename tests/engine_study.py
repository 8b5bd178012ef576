"""Three small prepared datasets, and a training on them that takes seconds."""

import numpy as np

from hermes.files.store import save_case
from hermes.files.tables import write_tsv

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


def fabricate_study(root, **modality):
    """A folder of the three prepared datasets; two share their tasks."""
    for dataset in DATASETS:
        fabricate_dataset(root / dataset["name"], dataset, **modality)
    return root


def fabricate_dataset(folder, dataset, **modality):
    """Prepared cases of 40 x 36 x 38 voxels; `bare` has no reference.

    `modality`: of a dataset, where it is not that of MODALITY.
    """
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
        meta = {"modality": (MODALITY | modality)[name], "foreground": points}
        save_case(folder, case, image, label, meta)
    counts = {case: "" if case == "bare" else ",".join(["1152"] * classes) for case in SPLIT}
    rows = [{"case": case, "foreground_voxels": count} for case, count in counts.items()]
    write_tsv(folder / "cases.tsv", ("case", "foreground_voxels"), rows)
    split = [{"case": case, "split": part} for case, part in SPLIT.items()]
    write_tsv(folder / "split.tsv", ("case", "split"), split)


def arguments(study, out, **training):
    """Of train.run, as JSON can hold them; `training` are values that differ."""
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
        "model": str(out / "model.safetensors"),
        "metrics": str(out / "metrics.tsv"),
        "checkpoint": str(out / "state.pt"),
        "device": "cpu",
    }


def assert_same(out, other):
    """Both folders hold the same network and the same metrics, byte for byte."""
    for name in ("model.safetensors", "metrics.tsv"):
        assert (out / name).read_bytes() == (other / name).read_bytes(), name
