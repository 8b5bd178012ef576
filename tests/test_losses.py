"""Losses: closed forms, autograd on masks and floats, padding, the published numbers."""

import math

import pytest
import torch
import torch.nn.functional as F
from parity import parity_file

from hermes import losses
from hermes.losses import modality_loss, segmentation_loss

PUBLISHED = {"cross_entropy": "bce", "overlap": "tversky"}
NAMES = list(PUBLISHED)


def on_masks(logits, masks, real):
    """The two losses by their definitions, on float64 masks, differentiable."""
    z, masks = logits.double(), masks.double()
    p, voxels = z.sigmoid(), (2, 3, 4)
    bce = F.binary_cross_entropy_with_logits(z, masks, reduction="none").mean(voxels)
    tp = (p * masks).sum(voxels)
    fp, fn = (p * (1 - masks)).sum(voxels), ((1 - p) * masks).sum(voxels)
    a = (fp / (fp + fn)).clamp(0.2, 0.8)
    tversky = 1 - tp / (tp + a * fp + (1 - a) * fn + 1e-6)
    return bce[real].mean(), tversky[real].mean()


def example(dtype=torch.float32, spread=4.0):
    """Logits, label and values; the second image wants one class less, the label has more."""
    torch.manual_seed(0)
    logits = (spread * torch.randn(2, 3, 6, 5, 7)).to(dtype).requires_grad_()
    label = torch.randint(0, 6, (2, 6, 5, 7), dtype=torch.uint8)
    return logits, label, torch.tensor([[5, 1, 2], [3, 4, 0]])


@pytest.mark.parametrize("block", [7, 2**15])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradient_are_those_of_the_definition(name, dtype, block, monkeypatch):
    monkeypatch.setitem(losses.BLOCK, "cpu", block)
    logits, label, values = example(dtype)
    masks = label[:, None] == values[:, :, None, None, None]
    expected = dict(zip(NAMES, on_masks(logits, masks, values > 0), strict=True))[name]
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    loss = getattr(segmentation_loss(logits, label, values), name)
    (gradient,) = torch.autograd.grad(loss, logits)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, rtol=tolerance, atol=1e-9)


def test_undecided_logits():
    """At p = 1/2 everywhere: BCE = ln 2; TP = FN = m / 2, FP = (n - m) / 2."""
    label = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    label[0, :2] = 7  # m = 32 of n = 64: TP = FP = FN = 16, a = 1/2
    loss = segmentation_loss(torch.zeros(1, 1, 4, 4, 4), label, torch.tensor([[7]]))
    assert loss.cross_entropy.item() == pytest.approx(math.log(2))
    assert loss.overlap.item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("inside", "outside", "expected"),
    [
        (40.0, 40.0, 1 - 8 / (8 + 0.8 * 56)),  # all predicted: FP = 56, a = 0.8 at most
        (0.0, -40.0, 1 - 4 / (4 + 0.8 * 4)),  # half missed: FN = 4, 1 - a = 0.8 at most
        (40.0, -40.0, 0.0),
        (-40.0, 40.0, 1.0),
    ],
)
def test_adaptive_weight_is_kept_in_range(inside, outside, expected):
    label = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    label[0, :2, :2, :2] = 1
    logits = torch.where(label[:, None] == 1, inside, outside)
    loss = segmentation_loss(logits, label, torch.tensor([[1]]))
    assert loss.overlap.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_extreme_logits_are_finite(logit):
    logits = torch.full((1, 1, 4, 4, 4), logit, requires_grad=True)
    label = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    loss = segmentation_loss(logits, label, torch.tensor([[1]]))
    (loss.cross_entropy + loss.overlap).backward()
    assert loss.cross_entropy.item() == pytest.approx(max(logit, 0))
    assert loss.overlap.item() == pytest.approx(1)
    assert logits.grad.isfinite().all()


def test_padded_channels_count_for_nothing():
    logits, label, values = example()
    loss = segmentation_loss(logits, label, values)
    changed = logits.detach().clone()
    changed[1, 2] = 50
    assert segmentation_loss(changed, label, values) == loss
    sum(loss).backward()
    assert (logits.grad[1, 2] == 0).all()
    assert (logits.grad[1, :2] != 0).all()


def test_nothing_to_learn_is_zero():
    logits, label, values = example()
    loss = segmentation_loss(logits, label, torch.zeros_like(values))
    sum(loss).backward()
    assert (loss.cross_entropy.item(), loss.overlap.item()) == (0, 0)
    assert (logits.grad == 0).all()


def test_backward_twice_gives_the_same_gradient():
    logits, label, values = example()
    loss = sum(segmentation_loss(logits, label, values))
    first, second = (torch.autograd.grad(loss, logits, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_modality_loss_ignores_the_unknown():
    logits = torch.tensor([[2.0, 0.0], [0.0, 5.0], [1.0, 1.0]], requires_grad=True)
    loss = modality_loss(logits, torch.tensor([0, -1, 1]))
    assert loss.item() == pytest.approx((math.log(1 + math.exp(-2)) + math.log(2)) / 2)
    loss.backward()
    assert (logits.grad[1] == 0).all()


def test_modality_loss_of_unknown_images_only_is_zero():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = modality_loss(logits, torch.tensor([-1, -1]))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_published_losses(name):
    """Its masks overlap, so each (image, class) pair is made an image of its own."""
    data = parity_file("losses.safetensors")
    logits = data["input/logits"].flatten(0, 1)[:, None].requires_grad_()
    label = data["input/masks"].flatten(0, 1)
    values = (data["input/tasks"] >= 0).long().flatten()[:, None]
    loss = getattr(segmentation_loss(logits, label, values), name)
    loss.backward()
    torch.testing.assert_close(loss, data[f"output/{PUBLISHED[name]}"][0], rtol=1e-6, atol=1e-6)
    expected = data[f"output/{PUBLISHED[name]}_grad"].flatten(0, 1)[:, None]
    torch.testing.assert_close(logits.grad, expected, rtol=1e-4, atol=1e-10)
