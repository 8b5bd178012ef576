"""UniSeg: prompts, the softmax head at three depths, its logits, its loss."""

import pytest
import torch
import torch.nn.functional as F
from method_cases import SPEC, ask, batch_of, fresh, spec_of

from hermes import losses
from hermes.losses.softmax import softmax_sums
from hermes.models import ModelOutput, build_model
from hermes.models.uniseg import against_rest, prompt_size, uniseg_loss

COUNTS = [len(own) for own in SPEC.datasets.values()]


@torch.no_grad()
def test_each_sample_gets_the_prompt_of_its_dataset():
    model = fresh("uniseg").eval()
    torch.manual_seed(2)
    bottleneck, dataset = torch.randn(3, 40, 2, 2, 2), torch.tensor([2, 0, 2])
    chosen = model.own_prompt(bottleneck, dataset)
    for row, index in enumerate(dataset):
        x = torch.cat([bottleneck[row : row + 1], model.prompt], 1)
        for conv, norm, _ in model.fuse:
            x = F.conv3d(x, conv.weight, conv.bias, padding=1)
            x = F.instance_norm(x, weight=norm.weight, bias=norm.bias)
            x = F.leaky_relu(x, 0.01)
        torch.testing.assert_close(chosen[row, 0], x[0, index], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_prompt_reaches_the_decoder():
    model, batch = fresh("uniseg").eval(), batch_of(0)
    before = ask(model, batch).logits
    model.prompt.add_(torch.randn_like(model.prompt))
    assert (ask(model, batch).logits - before).abs().max() > 1e-3


@torch.no_grad()
def test_a_prompt_of_another_size_is_interpolated():
    model = fresh("uniseg", prompt_size=[4, 2, 2]).eval()
    assert model.prompt.shape == (1, 4, 4, 2, 2)
    resized = F.interpolate(model.prompt, (2, 2, 2), mode="trilinear", align_corners=False)
    bottleneck, dataset = torch.randn(2, 40, 2, 2, 2), torch.tensor([1, 3])
    found = model.own_prompt(bottleneck, dataset)
    model.prompt = torch.nn.Parameter(resized)
    assert torch.equal(model.own_prompt(bottleneck, dataset), found)


@pytest.mark.parametrize("size", [0, [8, 8], "large", 2.5])
def test_impossible_prompt_sizes_are_refused(size):
    with pytest.raises(ValueError, match="prompt_size"):
        prompt_size({"prompt_size": size})


def test_the_papers_prompt_is_8():
    assert prompt_size({}) == (8, 8, 8)


def test_softmax_logits_at_three_depths_in_training_and_one_after():
    model, batch = fresh("uniseg"), batch_of(1, 0)
    levels = ask(model.train(), batch).softmax_logits
    assert [level.shape for level in levels] == [(2, 4, n, n, n) for n in (32, 16, 8)]
    for level in levels:
        assert level[:, :3].isfinite().all()
        assert level[1].isfinite().all()
        assert (level[0, 3] == -torch.inf).all()  # the MR dataset has two classes
    (only,) = ask(model.eval(), batch_of(2)).softmax_logits
    assert only.shape == (1, 2, 32, 32, 32)  # background and one class, not all 1 + 3


@torch.no_grad()
def test_sigmoids_are_softmax_probabilities():
    model, batch = fresh("uniseg").eval().double(), batch_of(0, 3)
    output = ask(model, batch)
    probability = output.softmax_logits[0].softmax(1)
    for row, count in enumerate((3, 2)):
        found = output.logits[row, :count].sigmoid()
        torch.testing.assert_close(found, probability[row, 1 : 1 + count])


@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_logits_against_the_rest_are_exact_and_differentiable(spread):
    torch.manual_seed(0)
    z = (spread * torch.randn(2, 4, 3, 3, 3)).requires_grad_()
    number = torch.tensor([[1, 3], [2, 0]])
    logits = against_rest(z, number)
    exact = z.detach().double().requires_grad_()
    expected = torch.stack(
        [
            torch.stack(
                [
                    exact[b, n] - exact[b, [c for c in range(4) if c != n]].logsumexp(0)
                    for n in number[b].tolist()
                ]
            )
            for b in range(2)
        ]
    )
    torch.testing.assert_close(logits.double(), expected, rtol=1e-5, atol=1e-5)
    upstream = torch.randn_like(logits)
    (gradient,) = torch.autograd.grad(logits, z, upstream)
    (wanted,) = torch.autograd.grad(expected, exact, upstream.double())
    torch.testing.assert_close(gradient.double(), wanted, rtol=1e-4, atol=1e-5)


def reference(levels, label, dataset, counts):
    """UniSeg's loss by its definition, on one-hot masks."""
    total_ce = total_dice = 0
    for weight, z in zip((4 / 7, 2 / 7, 1 / 7), levels, strict=True):
        step = label.shape[-1] // z.shape[-1]
        truth = label[:, ::step, ::step, ::step].long()
        total_ce = total_ce + weight * F.cross_entropy(z, truth)
        p = z.softmax(1)
        masks = F.one_hot(truth, z.shape[1]).movedim(-1, 1)
        dice = []
        for index in dataset.unique():
            members = dataset == index
            for value in range(1, 1 + counts[index]):
                pv, mv = p[members, value], masks[members, value]
                dice.append((2 * (pv * mv).sum() + 1e-5) / (pv.sum() + mv.sum() + 1e-5))
        total_dice = total_dice + weight * (1 - torch.stack(dice).mean())
    return total_ce, total_dice


@pytest.mark.parametrize("block", [50, 2**15])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_and_gradient_are_those_of_the_definition(dtype, block, monkeypatch):
    monkeypatch.setitem(losses.BLOCK, "cpu", block)
    torch.manual_seed(0)
    batch = batch_of(1, 0, 1, 2)
    label = batch.label[:, 4:28:2, 4:28:2, 4:28:2]
    batch.label = label
    levels = []
    for size in (12, 6, 3):
        z = 3 * torch.randn(4, 4, size, size, size)
        for row, index in enumerate(batch.dataset):
            z[row, 1 + COUNTS[index] :] = -torch.inf
        levels.append(z.to(dtype).requires_grad_())
    loss = uniseg_loss(ModelOutput(levels[0], softmax_logits=tuple(levels)), batch)
    exact = [level.detach().double().requires_grad_() for level in levels]
    expected = reference(exact, label, batch.dataset, COUNTS)
    torch.testing.assert_close(loss.cross_entropy.double(), expected[0], rtol=1e-5, atol=0)
    torch.testing.assert_close(loss.overlap.double(), expected[1], rtol=1e-5, atol=0)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-2
    gradients = torch.autograd.grad(sum(loss), levels)
    wanted = torch.autograd.grad(sum(expected), exact)
    for gradient, right in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient.double(), right, rtol=tolerance, atol=1e-7)


def test_validation_has_the_finest_level_alone():
    model, batch = fresh("uniseg").eval(), batch_of(0)
    output = ask(model, batch)
    (finest,) = output.softmax_logits
    expected = F.cross_entropy(finest, batch.label.long())
    torch.testing.assert_close(uniseg_loss(output, batch).cross_entropy, expected)


def test_a_sure_and_right_answer_costs_nothing():
    label = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    label[0, :2] = 1
    z = torch.stack([(label == value) * 60.0 - 30 for value in range(3)], 1)
    sums = softmax_sums(z, label)
    assert sums.cross_entropy.item() == pytest.approx(0, abs=1e-6)
    assert sums.true_positive[0].tolist() == pytest.approx([32, 32, 0])
    assert sums.size.tolist() == [[32, 32, 0]]


def test_the_own_loss_does_not_reach_the_heads_of_other_classes():
    model, batch = build_model(spec_of("uniseg")), batch_of(2)  # one class of three
    sum(uniseg_loss(ask(model, batch), batch)).backward()
    for head in model.heads:
        touched = head.weight.grad.abs().sum(1) > 0
        assert touched.tolist() == [True, True, False, False]
        assert head.bias.grad.isfinite().all()
