"""Strict arithmetic: the same bytes on another CPU of the same architecture.

Libraries choose their kernels by the CPU that they find, and kernels add up in different orders.
Here every x86-64 CPU is used as one with AVX2 and nothing newer, in float32. What stays free is
how a convolution is cut into blocks, which may depend on the sizes of caches.

The workflow sets these variables for every stage: the phantom's exponentials depend on them, too.

On a GPU, PyTorch takes its deterministic kernels where it has some, and warns where it has none:
the backward passes of max-pooling and of trilinear up-sampling have none.

The module does not import torch, since what it sets must be there before.
"""

import os
import platform

X86 = {
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions
    "MKL_CBWR": "COMPATIBLE",  # matrix products; MKL's AVX2 is not for CPUs of other makers
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # NumPy's exp, sin, sums
    "OPENBLAS_CORETYPE": "Haswell",  # matrix products of NumPy and SciPy
}
EVERYWHERE = {
    "MKL_DYNAMIC": "FALSE",  # never fewer threads than asked for
    "OMP_DYNAMIC": "FALSE",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # cuBLAS is deterministic with a workspace of its own
}


def environment() -> dict[str, str]:
    """Variables that pin kernels, to be set before torch is imported."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return EVERYWHERE | (X86 if x86 else {})


def pin(precision: str, device_type: str) -> str:
    """Deterministic kernels from here on; returns the number format that is pinned.

    bfloat16 is left to GPUs: a CPU multiplies it by other instructions than AVX2's.

    Args:
        precision: number format asked for, `hermes.jobs.precision.choose_dtype`.
        device_type: `cpu`, `cuda`, ...

    Raises ValueError: the environment was not set before torch was imported.
    """
    import torch

    if missing := sorted(k for k, v in environment().items() if os.environ.get(k) != v):
        raise ValueError(
            f"strict: {', '.join(missing)} must be set before the process starts; "
            "workflow/scripts/stage.py does that"
        )
    torch.use_deterministic_algorithms(True, warn_only=True)
    # nothing here reads such memory; the module makes this attribute by a trick
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return "float32" if device_type == "cpu" else precision
