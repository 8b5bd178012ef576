"""Device and number format: what is used where nothing is asked for.

bfloat16 halves the memory of activations and is faster where the hardware multiplies it: every
GPU that reports support, and CPUs with AMX. Elsewhere float32 is used, on CPUs with AVX-512 bf16
too: there torch 2.13 (oneDNN 3.12) reads memory that nobody wrote when it takes the gradient of a
3x3x3 kernel at a depth of two voxels, and returns other numbers each time, NaN among them.
"""

import torch


def choose_device(name: str = "auto") -> torch.device:
    """Return the device; `auto` is the first GPU if there is one.

    Raises:
        ValueError: torch knows no such device, or a GPU is asked for and none is usable.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f"device {name!r}: torch knows no such device; use 'auto', 'cpu', 'cuda' or 'cuda:<n>'"
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device {name!r}: this torch ({torch.__version__}) sees no usable GPU; "
            "use device 'cpu' or install a CUDA build of torch"
        )
    return device


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype of the network's arithmetic: float32 or bfloat16.

    Args:
        precision: `float32`, `bfloat16` or `auto`.
        device: where the network runs.
    """
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the hardware has bfloat16 arithmetic of its own, which can be relied on."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return bool(torch.cpu.get_capabilities().get("amx_bf16"))
    return False


def device_name(device: torch.device) -> str:
    """What a person calls the device: the model of the GPU, or of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(torch.cpu.get_capabilities().get("cpu_name", "CPU"))
