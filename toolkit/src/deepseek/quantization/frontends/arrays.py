"""Torch tensors and NumPy arrays, told apart without importing torch."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_array", "as_tensor", "is_module", "is_tensor", "is_tensor_like"]


def is_tensor(value: object) -> bool:
    """Whether `value` is a torch tensor; where torch was never imported, nothing is."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_module(value: object) -> bool:
    """Whether `value` is a torch module."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def is_tensor_like(value: object) -> bool:
    """Whether `value` is a torch tensor or a NumPy array."""
    return isinstance(value, np.ndarray) or is_tensor(value)


def as_array(value: Any) -> NDArray[Any]:
    """A NumPy array of the same dtype; bfloat16, which NumPy lacks, becomes float32."""
    if isinstance(value, np.ndarray):
        return value
    value = value.detach().cpu()
    found: NDArray[Any] = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    return found


def as_tensor(array: NDArray[Any]) -> Any:
    """A torch tensor over the array's memory; torch has been imported by then."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(array))
