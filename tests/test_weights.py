"""A checkpoint with the published key layout becomes a model that predicts; other files do not."""

import csv
import json
import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hermes.cli import app
from hermes.cli.apply import segment_file

ROOT = Path(__file__).parents[1]
RUNNER = CliRunner()
CONFIG = str(ROOT / "config")


@pytest.fixture(scope="module")
def published():
    generator = torch.Generator().manual_seed(0)
    path = ROOT / "tests" / "data" / "published_parameters.tsv"
    with path.open() as lines:
        return {
            row["name"]: 0.1 * torch.randn(*map(int, row["shape"].split()), generator=generator)
            for row in csv.DictReader(lines, delimiter="\t")
        }


def imported(path, out):
    return RUNNER.invoke(app, ["import-weights", str(path), str(out), "--config", CONFIG])


def test_published_checkpoint_predicts_a_scan(published, tmp_path):
    weights = {f"module.{name}": value for name, value in published.items()}
    checkpoint = {"epoch": 200, "model_state_dict": {}, "ema_model_state_dict": weights}
    torch.save(checkpoint | {"optimizer_state_dict": {}}, tmp_path / "best.pth")
    answer = imported(tmp_path / "best.pth", tmp_path / "model")
    assert answer.exit_code == 0, answer.output
    assert "Hermes on resunet, 72 tasks" in answer.output
    described = tmp_path / "model" / "model.json"
    record = json.loads(described.read_text())
    assert record["spec"]["datasets"]["bcv"][0] == "bcv/spleen"
    assert record["spec"]["tasks"][0] == "lits/liver"
    assert record["spec"]["tasks"][19] == "bcv/spleen"  # the published offset
    assert record["spec"]["tasks"][70:] == ["autopet/lesion", "published/71"]
    record["extra"]["training"]["crop"] = [32, 32, 32]  # 128^3 would take long here
    described.write_text(json.dumps(record))
    scan = np.random.default_rng(0).normal(0, 200, (40, 40, 20)).astype(np.int16)
    nib.save(nib.Nifti1Image(scan, np.diag([1.5, 1.5, 3, 1])), tmp_path / "scan.nii.gz")
    segment_file(
        tmp_path / "model", tmp_path / "scan.nii.gz", tmp_path / "out.nii.gz", dataset="bcv",
        modality="", tasks=None, device="cpu",
    )  # fmt: skip
    assert nib.load(tmp_path / "out.nii.gz").shape == (40, 40, 20)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "run")


def test_checkpoint_with_code_in_it_is_refused_and_nothing_is_run(tmp_path):
    target = tmp_path / "owned"
    (tmp_path / "bad.pth").write_bytes(pickle.dumps(Malicious(target), protocol=2))
    answer = imported(tmp_path / "bad.pth", tmp_path / "model")
    assert answer.exit_code == 1
    assert "bad.pth" in answer.output
    assert not target.exists()
    assert not (tmp_path / "model").exists()


def test_other_weights_are_refused(tmp_path):
    torch.save({"model_state_dict": {"conv.weight": torch.zeros(1)}}, tmp_path / "other.pth")
    answer = imported(tmp_path / "other.pth", tmp_path / "model")
    assert answer.exit_code == 1
    assert "not the weights of a published Hermes" in answer.output


def test_models_are_listed_with_their_counts():
    answer = RUNNER.invoke(app, ["models", "--config", CONFIG])
    assert answer.exit_code == 0, answer.output
    rows = {tuple(line.split()[:2]): line for line in answer.output.splitlines() if line.strip()}
    assert "225,528,372" in rows["multi_decoder", "resunet"]
    assert "40,674,992" in rows["dodnet", "resunet"]
    assert ("hermes", "vit") in rows
    assert "Ulrich et al. 2023" in rows["multitalent", "resunet"]
