"""Every comparison method through the engine: trained on mixed batches, saved, asked for masks."""

import numpy as np
import pytest
import torch
from engine_study import DATASETS, arguments, fabricate_dataset
from method_cases import METHODS

from hermes import train
from hermes.files.tables import read_tsv
from hermes.models import load_model
from hermes.predict import Windows, segment


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Folder of three prepared datasets; two share their tasks."""
    root = tmp_path_factory.mktemp("study")
    for dataset in DATASETS:
        fabricate_dataset(root / dataset["name"], dataset)
    return root


@pytest.mark.parametrize("method", METHODS)
def test_trained_saved_and_asked(study, tmp_path, method):
    settings = {"epochs": 1, "iterations": 1, "batch": 3, "sampling": "native", "loss": "native"}
    options = {"prompt_size": 2} if method == "uniseg" else {}
    given = arguments(study, tmp_path, **settings)
    train.run(**given | {"method": method, "options": options})
    (row,) = read_tsv(tmp_path / "metrics.tsv")
    assert np.isfinite([float(row["loss"]), float(row["val_loss"])]).all()
    network, spec, _ = load_model(tmp_path)
    windows = Windows((32, 32, 32), (32, 32, 32), 1, 0.5, "float32")
    image = torch.randn(32, 32, 32)
    for dataset, tasks in spec.datasets.items():
        masks, label = segment(network, spec, image, tasks, dataset, "ct", windows)
        assert masks.shape == (len(tasks), 32, 32, 32)
        assert label.max() <= len(tasks)
