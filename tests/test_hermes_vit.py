"""Hermes on conventional attention: equation 1, padding, crops of any size, growth, learning."""

import dataclasses
import math

import pytest
import torch

from hermes.losses import segmentation_loss
from hermes.models import ModelSpec, build_model, grow
from hermes.models.build import count_parameters
from hermes.models.vit import PATCH, TransformerBlock, ViT, positions
from hermes.report.cost import count_macs

SPEC = ModelSpec(
    method="hermes",
    backbone="vit",
    base_channels=4,
    tasks=("a/liver", "a/spleen", "b/heart"),
    datasets={"a": ("a/liver", "a/spleen"), "b": ("b/heart",)},
    modalities=("ct", "pet", "unknown"),
    prior_length=3,
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(SPEC).eval()


def ask(model, tasks, size=(32, 32, 32), modality=0):
    torch.manual_seed(1)
    image = torch.randn(1, 1, *size).expand(len(tasks), -1, -1, -1, -1)
    unused = torch.zeros(len(tasks), dtype=torch.int64)
    with torch.no_grad():
        return model(image, torch.tensor(tasks), unused, torch.full((len(tasks),), modality))


def test_block_is_equation_1_over_voxels_and_priors_together():
    torch.manual_seed(0)
    block, x = TransformerBlock(64).double(), torch.randn(2, 7, 64, dtype=torch.float64)
    real = torch.ones(2, 7, dtype=torch.bool)
    real[1, 5] = False
    tokens = block.norm_attention(x)
    q, k, v = block.attention.query_key_value(tokens).chunk(3, -1)
    heads = []
    for head in range(2):
        part = slice(32 * head, 32 * (head + 1))
        scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(32)
        scores = scores.masked_fill(~real[:, None], -torch.inf)
        heads.append(scores.softmax(-1) @ v[..., part])
    expected = x + block.attention.output(torch.cat(heads, -1))
    expected = expected + block.ffn(block.norm_ffn(expected))
    torch.testing.assert_close(block(x, real), expected)


def test_priors_are_read_by_the_voxels_and_the_other_way_round(model):
    """Another task asked beside it changes a task's answer; another modality does, too."""
    both, one = ask(model, [[0, 1]]).logits, ask(model, [[0]]).logits
    assert not torch.allclose(both[:, :1], one)
    assert not torch.allclose(ask(model, [[0]], modality=1).logits, one)


def test_padding_changes_nothing(model):
    plain, padded = ask(model, [[2, 0]]).logits, ask(model, [[2, 0, -1, -1]]).logits
    torch.testing.assert_close(padded[:, :2], plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(32, 48, 64), (64, 32, 32)])
def test_crops_of_any_size(model, size):
    assert ask(model, [[0, 1]], size).logits.shape == (1, 2, *size)


def test_every_patch_has_a_position_of_its_own():
    found = positions((3, 4, 5), 48, torch.device("cpu"))
    assert len(torch.unique(found, dim=0)) == 60


def test_parameters():
    """Eight blocks of 12 c^2 + 13 c at c = 384, the embedding, and a light decoder."""
    with torch.device("meta"):
        backbone = ViT(32)
    assert count_parameters(backbone.blocks) == 8 * (12 * 384**2 + 13 * 384)
    assert count_parameters(backbone.embed) == 384 * (PATCH**3 + 1)
    assert count_parameters(backbone) < 40_560_480  # lighter than the ResUNet


def test_macs_are_counted():
    spec = dataclasses.replace(SPEC, base_channels=32)
    assert 300 < count_macs(spec, "a") / 1e9 < 1296  # less arithmetic than the ResUNet


def test_new_tasks_leave_the_old_answers_alone(model):
    grown, spec = grow(model, SPEC, tasks=["c/lesion"], modalities=["t1"])
    assert spec.modalities == ("ct", "pet", "t1", "unknown")
    torch.testing.assert_close(ask(grown.eval(), [[1, 2]]).logits, ask(model, [[1, 2]]).logits)


def test_it_learns():
    torch.manual_seed(0)
    model = build_model(SPEC)
    label = torch.zeros(1, 32, 32, 32, dtype=torch.uint8)
    label[:, 8:24, 8:24, 8:24] = 1
    image = label[:, None] * 2.0 + 0.1 * torch.randn(1, 1, 32, 32, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    history, zero = [], torch.zeros(1, dtype=torch.int64)
    for _ in range(8):
        output = model(image, torch.tensor([[0]]), zero, zero)
        loss = sum(segmentation_loss(output.logits, label, torch.tensor([[1]])))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.8 * history[0]
