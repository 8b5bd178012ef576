"""Import of published weights: names, checkpoints, and the published network's own numbers."""

import csv
from pathlib import Path

import pytest
import torch
from parity import parity_file

from hermes.models.published import NULL_TASK, import_published

PARAMETERS = Path(__file__).parent / "data" / "published_parameters.tsv"


@pytest.fixture(scope="module")
def published():
    """Random weights under the published names and in the published shapes, 8 base channels."""
    generator = torch.Generator().manual_seed(0)
    with PARAMETERS.open() as lines:
        rows = csv.DictReader(lines, delimiter="\t")
        return {
            row["name"]: torch.randn(*map(int, row["shape"].split()), generator=generator)
            for row in rows
        }


def test_every_published_parameter_has_its_place(published):
    model, spec = import_published(published)
    ours = model.state_dict()
    assert len(ours) == len(published) == 405
    assert (len(spec.tasks), len(spec.modalities), spec.base_channels) == (72, 6, 8)
    assert torch.equal(
        ours["fusions.3.blocks.1.inject.norm_context.weight"],
        published["prior_fuse_5.attn_layers.1.feat_aggregate_block.norm2.weight"],
    )
    assert torch.equal(ours["fusions.2.task_prior"], published["prior_init_fuse_4.task_prior"][:-1])


def test_null_row_is_kept_as_the_last_task(published):
    model, spec = import_published(published, keep_null=True)
    assert spec.tasks[-1] == NULL_TASK
    assert torch.equal(model.fusions[4].task_prior, published["prior_fuse_6.task_prior"])


def test_names_are_taken_in_row_order(published):
    tasks = [f"a/{row}" for row in range(72)]
    kinds = ["ct", "t1", "t2", "cine", "pet", "unknown"]
    _, spec = import_published(published, tasks, kinds, {"set": ["a/3", "a/1"]})
    assert spec.tasks == tuple(tasks)
    assert spec.modalities == tuple(kinds)
    assert spec.datasets == {"set": ("a/3", "a/1")}


def test_wrong_number_of_names_is_refused(published):
    with pytest.raises(ValueError, match="2 names of tasks for 72 rows"):
        import_published(published, ["a/1", "a/2"])


def test_other_weights_are_refused():
    with pytest.raises(ValueError, match="not the weights of a published ResUNet-based Hermes"):
        import_published({"conv.weight": torch.zeros(1)})


def test_checkpoint_gives_its_ema_weights(published, tmp_path):
    checkpoint = {
        "epoch": 200,
        "model_state_dict": {name: torch.zeros_like(value) for name, value in published.items()},
        "ema_model_state_dict": {f"module.{name}": value for name, value in published.items()},
        "optimizer_state_dict": {},
    }
    torch.save(checkpoint, tmp_path / "best.pth")
    model, _ = import_published(tmp_path / "best.pth")
    assert torch.equal(model.backbone.encoder.stem[0].weight, published["inc.conv1.weight"])


def test_checkpoint_without_weights_is_named(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "best.pth")
    with pytest.raises(ValueError, match=r"best\.pth has none of ema_model_state_dict"):
        import_published(tmp_path / "best.pth")


@torch.no_grad()
def test_published_network_gives_its_numbers():
    """Its padding is a row of its own, read by all: the last task, for us."""
    data = parity_file("hermes_r_base8.safetensors")
    prefix = "weights/"
    weights = {
        name.removeprefix(prefix): value for name, value in data.items() if name.startswith(prefix)
    }
    model, spec = import_published(weights, keep_null=True)
    tasks = data["input/tasks"]
    rows = torch.where(tasks < 0, len(spec.tasks) - 1, tasks)
    unused = torch.zeros(len(tasks), dtype=torch.int64)
    output = model(data["input/image"], rows, unused, data["input/modality"][:, 0])
    expected = data["output/logits"]
    torch.testing.assert_close(
        output.logits[tasks >= 0], expected[tasks >= 0], rtol=1e-4, atol=1e-4
    )
    # the null row's own logits are wanted by nobody
    torch.testing.assert_close(output.logits, expected, rtol=1e-4, atol=2e-4)
    torch.testing.assert_close(
        output.modality_logits, data["output/modality_logits"], rtol=1e-4, atol=1e-5
    )
