"""Multi-decoder and MultiTalent: a decoder per dataset, and a loss that is a sum over classes."""

import copy

import pytest
import torch
import torch.nn.functional as F
from method_cases import SPEC, ask, batch_of, fresh, sample_of, spec_of

from hermes.models import ModelOutput, build_model
from hermes.models.build import method_of
from hermes.models.multitalent import multitalent_loss, pool
from hermes.train.optim import Lamb


@torch.no_grad()
def test_a_task_is_answered_by_its_own_datasets_decoder_and_head():
    """The spleen, a task of two datasets, is output 1 of the CT head and output 0 of the MR one."""
    model, batch = fresh("multi_decoder").eval(), batch_of(0, 1)
    spleen = SPEC.tasks.index("abdomen/spleen")
    batch.tasks = torch.tensor([[spleen], [spleen]])
    logits = ask(model, batch).logits
    for row, (dataset, channel) in enumerate([(0, 1), (1, 0)]):
        features = model.encoder(batch.image[row : row + 1])
        head = model.heads[dataset]
        expected = F.conv3d(
            model.decoders[dataset](features),
            head.weight[channel, :, None, None, None][None],
            head.bias[channel : channel + 1],
        )
        torch.testing.assert_close(logits[row, 0], expected[0, 0], rtol=1e-3, atol=1e-3)


def test_decoders_without_samples_stay_as_they_are():
    model, batch = fresh("multi_decoder"), batch_of(2, 0)
    before = copy.deepcopy(model.state_dict())
    optimizer = Lamb(model.parameters(), lr=0.01)
    loss = method_of(spec_of("multi_decoder")).loss
    for _ in range(2):
        optimizer.zero_grad()
        sum(loss(ask(model, batch), batch)).backward()
        optimizer.step()
    after = model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    used = {
        name for name in before if name.startswith("encoder") or name.split(".")[1] in ("0", "2")
    }
    assert moved == used
    assert all(p.grad is None for p in model.decoders[1].parameters())
    assert not any(p in optimizer.state for p in model.decoders[3].parameters())


@torch.no_grad()
def test_samples_keep_their_order():
    model, batch = fresh("multi_decoder").eval(), batch_of(3, 0, 3)
    logits = ask(model, batch).logits
    for row in range(3):
        alone = ask(model, sample_of(batch, row)).logits[0]
        torch.testing.assert_close(logits[row, : len(alone)], alone, rtol=1e-3, atol=1e-3)


def by_definition(logits, batch):
    """Sums over labelled (image, class) pairs of BCE, and over tasks of 1 - Dice."""
    cross_entropy, pooled = 0, {}
    for row, column in (batch.values > 0).nonzero().tolist():
        z = logits[row, column]
        mask = (batch.label[row] == batch.values[row, column]).to(z.dtype)
        cross_entropy = cross_entropy + F.binary_cross_entropy_with_logits(z, mask)
        p = z.sigmoid()
        parts = torch.stack([(p * mask).sum(), (p * (1 - mask)).sum(), ((1 - p) * mask).sum()])
        task = int(batch.tasks[row, column])
        pooled[task] = pooled.get(task, 0) + parts
    overlap = sum(1 - 2 * tp / (2 * tp + fp + fn) for tp, fp, fn in pooled.values())
    return cross_entropy, overlap


def test_multitalent_loss_is_its_definition():
    torch.manual_seed(0)
    batch = batch_of(0, 1, 3)  # liver and spleen are labelled in two images
    logits = torch.randn(3, 3, 32, 32, 32, dtype=torch.float64, requires_grad=True)
    loss = multitalent_loss(ModelOutput(logits), batch)
    expected = by_definition(logits, batch)
    torch.testing.assert_close(loss.cross_entropy.double(), expected[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(loss.overlap.double(), expected[1], rtol=1e-6, atol=0)
    (gradient,) = torch.autograd.grad(sum(loss), logits)
    (wanted,) = torch.autograd.grad(sum(expected), logits)
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-10)


def test_a_class_has_the_same_gradient_in_any_company():
    """Unlike the common loss, which is a mean: there a companion makes the gradient smaller."""
    torch.manual_seed(0)
    batch = batch_of(0, 2)
    logits = torch.randn(2, 3, 32, 32, 32, requires_grad=True)
    alone = sample_of(batch, 0)
    alone.tasks, alone.values = alone.tasks[:, 1:2], alone.values[:, 1:2]
    for loss, same in ((multitalent_loss, True), (method_of(spec_of("dodnet")).loss, False)):
        (together,) = torch.autograd.grad(sum(loss(ModelOutput(logits), batch)), logits)
        single = logits[:1, 1:2].detach().requires_grad_()
        (own,) = torch.autograd.grad(sum(loss(ModelOutput(single), alone)), single)
        # sums in blocks of another size differ in their last digits
        assert torch.allclose(together[:1, 1:2], own, rtol=1e-4, atol=0) == same


def test_classes_that_no_image_labels_get_no_gradient():
    model, batch = build_model(spec_of("multitalent")), batch_of(3, 2)
    sum(multitalent_loss(ask(model, batch), batch)).backward()
    touched = model.head.weight.grad.abs().sum(1) > 0
    assert touched.tolist() == [False, False, False, True, True, True]


def test_sums_are_pooled_per_task():
    tasks = torch.tensor([[4, 0, -1], [0, 4, 2]])
    sums = torch.arange(18.0).reshape(3, 2, 3)
    rows, pooled = pool(tasks, sums)
    assert rows.tolist() == [-1, 0, 2, 4]
    assert pooled[0].tolist() == [2, 1 + 3, 5, 0 + 4]
    assert pooled[2].tolist() == [14, 13 + 15, 17, 12 + 16]


def test_multitalent_draws_datasets_by_the_root_of_their_cases():
    assert method_of(spec_of("multitalent")).sampling == "sqrt"


@pytest.mark.parametrize("absent", [1, 2, 3])
def test_an_absent_class_costs_1_and_a_perfect_one_0(absent):
    batch = batch_of(0)
    batch.label[batch.label == absent] = 0
    logits = torch.where(batch.label[:, None] == batch.values[..., None, None, None], 60.0, -60.0)
    loss = multitalent_loss(ModelOutput(logits), batch)
    assert loss.overlap.item() == pytest.approx(1, abs=1e-4)
    assert loss.cross_entropy.item() == pytest.approx(0, abs=1e-6)
