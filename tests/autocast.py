"""Which gradients of a pass in bfloat16 can be relied on here."""

import torch
from torch import Tensor, nn

from hermes.jobs.precision import multiplies_bfloat16


def sound_gradients(network: nn.Module) -> list[Tensor]:
    """The gradients that a backward pass under autocast left, but for those known to be wrong.

    On CPUs with AVX-512 bfloat16 and no AMX, torch's gradient of a 3x3x3 kernel reads memory that
    nobody wrote, and is NaN at times (docs/log.md). Hermes takes float32 there; what the other
    gradients are is tested all the same.
    """
    sound = multiplies_bfloat16(torch.device("cpu"))
    kernels = {id(m.weight) for m in network.modules() if isinstance(m, nn.Conv3d)}
    return [
        parameter.grad
        for parameter in network.parameters()
        if parameter.grad is not None and (sound or id(parameter) not in kernels)
    ]
