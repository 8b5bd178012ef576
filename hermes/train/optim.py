"""The optimiser, the learning rate and the weight average of the published training.

LAMB: You et al., Large Batch Optimization for Deep Learning: Training BERT in 76 minutes, ICLR
2020, in the variant that the released Hermes code trains with: gradients scaled to a global norm
of 1 inside the optimiser, decoupled weight decay, bias correction.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import overload

import torch
from torch import Tensor, nn

Loss = float | Tensor  # torch declares the former and is given the latter

CACHE_VALUES = 2**16  # parameters updated at once on a CPU: 256 KiB, and as much for each state


class Lamb(torch.optim.Optimizer):
    """Adam's direction r = m' / (sqrt(v') + eps) + weight_decay * w, scaled per tensor:

        w <- w - lr * |w| / |r| * r        (the ratio is 1 where either norm is 0)

    m' and v' are the bias-corrected running means of the gradient and of its square. Before
    that, all gradients together are scaled down, in place, to `max_gradient_norm` (None: as they
    are), so callers do not clip. `gradient_norm` holds the norm before scaling of the last step
    (0-dim tensor on the parameters' device), for the log.

    ASSUME: steps are counted per parameter, so one that had no gradient for a while (a decoder
    whose dataset was not in the batch) is bias-corrected by its own count; and the ratio applies
    whether or not there is weight decay. With every parameter in use and decay on, as published,
    neither differs from the reference.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-5,
        weight_decay: float = 1e-5,
        max_gradient_norm: float | None = 1.0,
    ) -> None:
        """Raises ValueError for a negative rate, decay, eps or norm, and betas outside 0..1."""
        if min(lr, eps, weight_decay) < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(
                f"lr, eps and weight_decay must be 0 or more and betas in 0..1, not "
                f"lr={lr}, eps={eps}, weight_decay={weight_decay}, betas={betas}"
            )
        if max_gradient_norm is not None and max_gradient_norm <= 0:
            raise ValueError(f"max_gradient_norm must be above 0 or None, not {max_gradient_norm}")
        self.max_gradient_norm = max_gradient_norm
        self.gradient_norm: Tensor | None = None
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], Loss] | None = None) -> Loss | None:
        """Update every parameter that has a gradient; gradients are left scaled."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        members = [
            [p for p in group["params"] if p.grad is not None] for group in self.param_groups
        ]
        gradients = [p.grad for params in members for p in params]
        if not gradients:
            return loss
        self.gradient_norm = nn.utils.get_total_norm(gradients)
        if self.max_gradient_norm is not None:
            excess = (self.gradient_norm / self.max_gradient_norm).clamp_min(1.0)
            torch._foreach_div_(gradients, excess)
        for group, params in zip(self.param_groups, members, strict=True):
            for block in _blocks(params):
                self._step_group(group, block)
        return loss

    def _step_group(self, group: dict, params: list[Tensor]) -> None:
        update = self._direction(group, params)
        weight_norms = torch.stack(list(torch._foreach_norm(params)))
        update_norms = torch.stack(list(torch._foreach_norm(update)))
        usable = (weight_norms > 0) & (update_norms > 0)
        ratios = torch.where(usable, weight_norms / update_norms, 1.0)
        torch._foreach_mul_(update, list(ratios.unbind()))
        torch._foreach_add_(params, update, alpha=-group["lr"])

    def _direction(self, group: dict, params: list[Tensor]) -> list[Tensor]:
        """Adam's step plus weight decay, before lr and ratio; advances the running means."""
        beta1, beta2 = group["betas"]
        states = [self._state_of(p) for p in params]
        for state in states:
            state["step"] += 1
        gradients = [p.grad for p in params if p.grad is not None]
        means, squares = ([s[key] for s in states] for key in ("mean", "square"))
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        root = square_roots(squares)
        torch._foreach_div_(root, [math.sqrt(1 - beta2 ** s["step"]) for s in states])
        torch._foreach_add_(root, group["eps"])
        update = list(torch._foreach_div(means, root))
        torch._foreach_div_(update, [1 - beta1 ** s["step"] for s in states])
        torch._foreach_add_(update, params, alpha=group["weight_decay"])
        return update

    def _state_of(self, parameter: Tensor) -> dict:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        return state


def square_roots(squares: list[Tensor]) -> list[Tensor]:
    """Square roots of numbers that are not negative; rounded as IEEE 754 has it where that counts.

    On a CPU torch takes MKL's, whose float32 ones start from an instruction that is not defined to
    the last bit, and so differ between makers. Strict ones (`hermes.jobs.strict`) take six times as
    long, 4 % of a training step.
    """
    if squares[0].is_cuda or not torch.are_deterministic_algorithms_enabled():
        return list(torch._foreach_sqrt(squares))
    return [square.double().sqrt_().to(square.dtype) for square in squares]


def _blocks(params: list[Tensor]) -> Iterator[list[Tensor]]:
    """Parameters in runs that stay in a CPU's cache from one operation to the next.

    A GPU takes all at once. Every parameter's update is its own, so runs change no result.
    """
    block: list[Tensor] = []
    size = 0
    for parameter in params:
        if block and parameter.device.type == "cpu" and size + parameter.numel() > CACHE_VALUES:
            yield block
            block, size = [], 0
        block.append(parameter)
        size += parameter.numel()
    if block:
        yield block


def learning_rate(
    epoch: float | int, epochs: int, warmup_epochs: float | int, base_lr: float
) -> float:
    """The learning rate at `epoch` of `epochs`; whole epochs as published, fractions allowed.

    Up to and with `warmup_epochs`: base_lr * exp(10 (epoch / warmup_epochs - 1)). After it, and
    throughout when there is no warm-up: base_lr * (1 - epoch / epochs)^0.9.
    Source: the released Hermes code (which writes e as 2.718).

    >>> learning_rate(5, 200, 5, 2e-3)
    0.002
    >>> learning_rate(0, 200, 0, 2e-3)
    0.002

    Raises ValueError when `epoch` is not within 0..epochs.
    """
    if not 0 <= epoch <= epochs:
        raise ValueError(f"epoch must lie in 0..{epochs}, not {epoch}")
    if warmup_epochs > 0 and epoch <= warmup_epochs:
        return base_lr * math.exp(10 * (epoch / warmup_epochs - 1))
    return base_lr * (1 - epoch / epochs) ** 0.9


class Ema:
    """Running average of a model's weights; these are the weights that are evaluated.

    average <- decay * average + (1 - decay) * weight, decay = min(1 - 1/(step + 1), `decay`):
    the plain mean of all weights at first, an exponential one later. Averages are float32, for
    models of that type or a narrower one; buffers are copied, not averaged. Pass the bare module
    (neither compiled nor wrapped), as names are those of its state.
    """

    def __init__(self, model: nn.Module, decay: float = 0.99) -> None:
        """Start from the model as it is."""
        self.decay = decay
        self.weights = {
            name: p.detach().to(torch.float32, copy=True) for name, p in model.named_parameters()
        }
        self.buffers = {name: b.detach().clone() for name, b in model.named_buffers()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the model after optimiser step number `step` (from 0)."""
        fresh = [p.detach().float() for p in self._matching(model)]
        share = max(1 / (step + 1), 1 - self.decay)
        torch._foreach_lerp_(list(self.weights.values()), fresh, share)
        for name, buffer in model.named_buffers():
            self.buffers[name].copy_(buffer)

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Write the average into the model."""
        for parameter, average in zip(self._matching(model), self.weights.values(), strict=True):
            parameter.copy_(average)
        for name, buffer in model.named_buffers():
            buffer.copy_(self.buffers[name])

    @contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[nn.Module]:
        """Within the block the model holds the average; afterwards its own weights again."""
        own = Ema(model)
        self.copy_to(model)
        try:
            yield model
        finally:
            own.copy_to(model)

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """The averages and buffers by name, not copied; `load_state_dict` restores them."""
        return {"weights": dict(self.weights), "buffers": dict(self.buffers)}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over `state`, on the devices in use. Raises KeyError when the names differ."""
        for kind, own in (("weights", self.weights), ("buffers", self.buffers)):
            if own.keys() != state[kind].keys():
                differing = sorted(own.keys() ^ state[kind].keys())
                raise KeyError(f"the average is of another model; {kind} differ: {differing[:5]}")
            for name, tensor in own.items():
                tensor.copy_(state[kind][name])

    def _matching(self, model: nn.Module) -> list[nn.Parameter]:
        """The model's parameters in the order of `weights`."""
        parameters = dict(model.named_parameters())
        if parameters.keys() != self.weights.keys():
            differing = sorted(parameters.keys() ^ self.weights.keys())
            raise KeyError(f"the average is of another model; weights differ: {differing[:5]}")
        return [parameters[name] for name in self.weights]
