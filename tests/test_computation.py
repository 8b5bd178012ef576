"""Table 1: counts against known figures, measurements that are taken in a process of their own."""

import dataclasses
import json

import pandas as pd
import pytest
import torch

from hermes.models.build import build_model, count_parameters
from hermes.report import computation
from hermes.report.cost import count_macs

DATASETS = [
    {"name": "a", "tasks": ["a/liver", "a/spleen"]},
    {"name": "b", "tasks": ["b/heart"]},
]
ROWS = [
    {"model": "ResUNet", "method": "traditional", "backbone": "resunet", "options": {}},
    {"model": "Hermes-R", "method": "hermes", "backbone": "resunet", "options": {}},
]


def test_macs_of_one_convolution_layer_scale_with_the_volume():
    spec = computation.specification(ROWS[0], DATASETS)
    small, large = (
        count_macs(dataclasses.replace(spec, base_channels=4), "a", n) for n in (32, 64)
    )
    assert large == pytest.approx(8 * small)


@pytest.mark.parametrize(("row", "gmac"), [(0, 1295.9), (1, 1339.2)])
def test_macs_at_the_papers_size(row, gmac):
    """1295.9 and 1339.2 are counts of the published code; ours needs no key and value per voxel."""
    spec = computation.specification(ROWS[row], DATASETS)
    found = count_macs(spec, "a") / 1e9
    assert 0.99 * gmac < found <= gmac


def test_a_traditional_row_is_one_dataset_s_network():
    with torch.device("meta"):
        one = build_model(computation.specification(ROWS[0], DATASETS[:1]))
    assert count_parameters(one) == 40_560_480 + 2 * 33


def test_table_is_measured_and_the_sidecar_says_how(tmp_path, monkeypatch):
    monkeypatch.setattr(computation, "BASE_CHANNELS", 4)
    monkeypatch.setitem(computation.SETTINGS, "cpu", computation.Setting(batch=1, size=32, runs=1))
    computation.run(
        rows=[ROWS[1] | {"each": False}],
        datasets=DATASETS,
        dataset="a",
        published="",
        study={"study": "s", "title": "S"},
        precision="float32",
        csv=tmp_path / "t.csv",
        markdown=tmp_path / "t.md",
        sidecar=tmp_path / "t.json",
        device="cpu",
    )
    (row,) = pd.read_csv(tmp_path / "t.csv").to_dict("records")
    assert row["model"] == "Hermes-R"
    assert row["inference_time_s"] > 0
    assert 0 < row["memory_gb"] < 1
    said = json.loads((tmp_path / "t.json").read_text())["measurement"]
    assert (said["input"], said["precision"], said["runs"]) == ([1, 1, 32, 32, 32], "float32", 1)
    assert (
        "Numbers of other devices and sizes are not comparable" in (tmp_path / "t.md").read_text()
    )
