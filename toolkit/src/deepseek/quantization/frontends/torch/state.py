"""A module made ready for inference, and put back as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

__all__ = ["evaluating", "float32_on_cpu"]


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Every submodule in eval mode, without gradients; afterwards modes and buffers are what they were."""
    import torch

    modes = [(part, part.training) for part in module.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode
        with torch.no_grad():
            for buffer, value in buffers:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)


def float32_on_cpu(module: Any) -> Any:
    """The module itself, or a copy where a parameter or buffer is in another float type or on another device."""
    import torch

    tensors = list(chain(module.parameters(), module.buffers()))
    fits = all(t.device.type == "cpu" and (t.dtype == torch.float32 or not t.is_floating_point()) for t in tensors)
    return module if fits else copy.deepcopy(module).to(device="cpu", dtype=torch.float32)
