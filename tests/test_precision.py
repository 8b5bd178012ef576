"""The number format that is chosen computes the right gradients on this very CPU."""

import pytest
import torch

from hermes.jobs.precision import choose_dtype

CPU = torch.device("cpu")


def leave_nan_in_memory() -> None:
    """Free blocks of many sizes that are full of NaN: a kernel that reads what nobody wrote."""
    for power in range(8, 23, 2):
        blocks = [torch.full((2**power,), float("nan")) for _ in range(6)]
        del blocks


@pytest.mark.parametrize("size", [(2, 2, 2), (2, 4, 4), (4, 4, 4)])
@pytest.mark.parametrize("channels", [8, 64])
def test_gradients_of_small_volumes_are_right_and_the_same_twice(size, channels):
    torch.manual_seed(0)
    image = torch.randn(2, channels, *size).contiguous(memory_format=torch.channels_last_3d)
    weight = torch.randn(channels, channels, 3, 3, 3, requires_grad=True)
    given = torch.randn(2, channels, *size)
    dtype = choose_dtype("auto", CPU)
    found = []
    for _ in range(3):
        leave_nan_in_memory()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            output = torch.nn.functional.conv3d(image, weight, padding=1)
        (gradient,) = torch.autograd.grad((output.float() * given).sum(), weight)
        found.append(gradient)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    output = torch.nn.functional.conv3d(image.double(), weight.double(), padding=1)
    (right,) = torch.autograd.grad((output * given).sum(), weight)
    assert (found[0] - right).abs().max() < 0.02 * right.abs().max()
