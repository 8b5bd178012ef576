"""LAMB against a plain implementation, resuming, the learning rate, the weight average."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from hermes.train.optim import Ema, Lamb, learning_rate, square_roots

SHAPES = [(4, 3), (5,), (2, 2, 3), (1,)]


def parameters(seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def give_gradients(params: list[nn.Parameter], step: int, scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(1000 + step)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator) * scale


def plain_lamb(values, gradients, lr, beta1, beta2, eps, weight_decay, max_norm):
    """Every formula written out, in float64, one tensor at a time."""
    means = [torch.zeros_like(v) for v in values]
    squares = [torch.zeros_like(v) for v in values]
    for t, step_gradients in enumerate(gradients, start=1):
        norm = math.sqrt(sum(float((g**2).sum()) for g in step_gradients))
        for i, g in enumerate(step_gradients):
            g = g / max(norm / max_norm, 1.0)
            means[i] = beta1 * means[i] + (1 - beta1) * g
            squares[i] = beta2 * squares[i] + (1 - beta2) * g**2
            direction = (means[i] / (1 - beta1**t)) / ((squares[i] / (1 - beta2**t)).sqrt() + eps)
            direction = direction + weight_decay * values[i]
            length, step_length = values[i].norm(), direction.norm()
            ratio = length / step_length if length > 0 and step_length > 0 else 1.0
            values[i] = values[i] - lr * ratio * direction
    return values


@pytest.mark.parametrize("scale", [0.01, 3.0])
@pytest.mark.parametrize("weight_decay", [1e-5, 0.05])
def test_lamb_follows_the_written_formulas(scale, weight_decay):
    params = parameters()
    params[3].data.zero_()
    values, gradients = [p.detach().double() for p in params], []
    optimizer = Lamb(params, lr=2e-2, weight_decay=weight_decay)
    for step in range(6):
        give_gradients(params, step, scale)
        gradients.append([p.grad.double() for p in params])
        optimizer.step()
    expected = plain_lamb(values, gradients, 2e-2, 0.9, 0.999, 1e-5, weight_decay, 1.0)
    for p, value in zip(params, expected, strict=True):
        torch.testing.assert_close(p.detach().double(), value, rtol=1e-5, atol=1e-6)


def test_lamb_moves_each_tensor_by_lr_times_its_norm():
    params = parameters()
    before = [p.detach().clone() for p in params]
    give_gradients(params, 0)
    Lamb(params, lr=0.01).step()
    for p, old in zip(params, before, strict=True):
        assert float((p.detach() - old).norm()) == pytest.approx(0.01 * float(old.norm()), rel=1e-4)


def test_lamb_scales_gradients_only_above_the_limit():
    params = parameters()
    give_gradients(params, 0, scale=10.0)
    optimizer = Lamb(params, max_gradient_norm=1.0)
    norm = float(nn.utils.get_total_norm([p.grad for p in params]))
    optimizer.step()
    assert float(optimizer.gradient_norm) == pytest.approx(norm)
    assert float(nn.utils.get_total_norm([p.grad for p in params])) == pytest.approx(1.0, rel=1e-5)
    give_gradients(params, 1, scale=0.01)
    small = [p.grad.clone() for p in params]
    optimizer.step()
    assert all(torch.equal(p.grad, g) for p, g in zip(params, small, strict=True))


def test_lamb_counts_steps_of_each_parameter_on_its_own():
    late, alone = parameters(), parameters()
    optimizer = Lamb(late, max_gradient_norm=None)
    for step in range(3):
        give_gradients(late, step)
        if step < 2:
            late[0].grad = None
        optimizer.step()
    give_gradients(alone, 2)
    Lamb(alone, max_gradient_norm=None).step()
    assert torch.equal(late[0], alone[0])
    assert not torch.equal(late[1], alone[1])


def test_lamb_resumes_bit_for_bit(tmp_path):
    unbroken = parameters()
    optimizer = Lamb(unbroken)
    for step in range(3):
        give_gradients(unbroken, step)
        optimizer.step()
    torch.save({"w": unbroken, "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=False)
    resumed = saved["w"]
    second = Lamb(resumed, lr=1.0, weight_decay=0.5)
    second.load_state_dict(saved["optimizer"])
    for step in range(3, 6):
        for params, opt in ((unbroken, optimizer), (resumed, second)):
            give_gradients(params, step)
            opt.step()
    assert all(torch.equal(a, b) for a, b in zip(unbroken, resumed, strict=True))


def test_lamb_lowers_a_quadratic_and_returns_the_closure_loss():
    weight = nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = Lamb([weight], lr=0.05)

    def closure():
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss

    losses = [float(optimizer.step(closure).detach()) for _ in range(40)]
    assert losses[0] == 13.0
    assert losses[-1] < 0.5


@pytest.mark.parametrize(
    "wrong", [{"lr": -1.0}, {"betas": (0.9, 1.0)}, {"eps": -1.0}, {"max_gradient_norm": 0.0}]
)
def test_lamb_refuses_impossible_settings(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Lamb(parameters(), **wrong)


def test_learning_rate_values():
    assert learning_rate(0, 200, 5, 2e-3) == pytest.approx(2e-3 * math.exp(-10))
    assert learning_rate(2.5, 200, 5, 2e-3) == pytest.approx(2e-3 * math.exp(-5))
    assert learning_rate(5, 200, 5, 2e-3) == 2e-3
    assert learning_rate(100, 200, 5, 2e-3) == pytest.approx(2e-3 * 0.5**0.9)
    assert learning_rate(0, 200, 0, 2e-3) == 2e-3
    assert learning_rate(200, 200, 5, 2e-3) == 0.0


def test_learning_rate_refuses_epochs_beyond_the_end():
    with pytest.raises(ValueError, match="epoch"):
        learning_rate(201, 200, 5, 2e-3)


def small_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def fill(model: nn.Module, value: float) -> None:
    for tensor in (*model.parameters(), model[1].running_mean):
        tensor.data.fill_(value)


def test_ema_is_the_plain_mean_first_and_exponential_later():
    model = small_model()
    ema = Ema(model, decay=0.75)
    for step, value in enumerate([1.0, 2.0, 6.0, 7.0]):
        fill(model, value)
        ema.update(model, step)
    # 1, 3/2 and 9/3 = 3 are plain means; then decay stays at 3/4: 3 * 3/4 + 7 / 4 = 4
    assert all(torch.allclose(w, torch.full_like(w, 4.0)) for w in ema.weights.values())
    fill(model, 12.0)
    ema.update(model, 4)
    assert all(torch.allclose(w, torch.full_like(w, 6.0)) for w in ema.weights.values())
    assert torch.equal(ema.buffers["1.running_mean"], torch.full((2,), 12.0))


def test_ema_copies_to_a_model_and_only_for_a_block():
    model, other = small_model(), small_model()
    ema = Ema(model)
    fill(model, 5.0)
    ema.copy_to(other)
    assert torch.equal(other[0].weight, small_model()[0].weight)
    with ema.applied_to(model):
        assert torch.equal(model[0].weight, other[0].weight)
    assert torch.equal(model[0].weight, torch.full((2, 3), 5.0))


def test_ema_averages_narrow_weights_in_float32():
    model = small_model().bfloat16()
    ema = Ema(model, decay=0.99)
    fill(model, 1.0)
    ema.update(model, 0)
    fill(model, 2.0)
    ema.update(model, 1000)
    assert ema.weights["0.weight"].dtype == torch.float32
    assert float(ema.weights["0.weight"][0, 0]) == pytest.approx(1.01)


def test_ema_resumes_bit_for_bit():
    model = small_model()
    ema = Ema(model)
    for step in range(3):
        fill(model, 0.1 * step)
        ema.update(model, step)
    state = copy.deepcopy(ema.state_dict())
    resumed = Ema(small_model())
    resumed.load_state_dict(state)
    fill(model, 0.7)
    for average in (ema, resumed):
        average.update(model, 3)
    assert all(torch.equal(w, resumed.weights[name]) for name, w in ema.weights.items())
    assert all(torch.equal(b, resumed.buffers[name]) for name, b in ema.buffers.items())


def test_ema_refuses_another_model():
    with pytest.raises(KeyError, match="another model"):
        Ema(small_model()).update(nn.Linear(3, 2), 0)
    with pytest.raises(KeyError, match="another model"):
        Ema(small_model()).load_state_dict(Ema(nn.Linear(3, 2)).state_dict())


@pytest.fixture
def strictly():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_strict_square_roots_are_rounded_right(strictly):
    """Unlike torch.sqrt on a CPU, which is off by a bit in one of six."""
    squares = torch.rand(20_000, generator=torch.Generator().manual_seed(0)) ** 8
    (roots,) = square_roots([torch.cat([torch.zeros(1), squares])])
    assert roots.dtype == torch.float32
    assert np.array_equal(roots[1:].numpy(), np.sqrt(squares.numpy()))
    assert roots[0] == 0
