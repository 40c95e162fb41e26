"""A network for one batch size."""

from __future__ import annotations

from typing import Any

from deepseek_core import QuantizedModel, TensorInfo
from deepseek_core.errors import ConfigError
from deepseek_core.ir import with_input_shapes

__all__ = ["fixed"]


def fixed(model: QuantizedModel, batch: int | None) -> QuantizedModel:
    """The model for one batch size.

    Raises:
        ConfigError: it is fixed to another one, or no input has a batch axis.
    """
    if batch is None:
        return model
    free = {info.name: info for info in model.inputs if info.shape and not isinstance(info.shape[0], int)}
    sizes = {info.shape[0] for info in model.inputs if info.shape and isinstance(info.shape[0], int)}
    if not free and batch not in sizes:
        told = ", ".join(map(str, sorted(size for size in sizes if isinstance(size, int)))) or "none"
        raise ConfigError(
            f"batch_size={batch}, but the network's batch is fixed ({told})",
            fix="export it with a dynamic batch axis, or leave batch_size out",
        )
    return with_input_shapes(model, {name: _shape(info, batch) for name, info in free.items()})


def _shape(info: TensorInfo, batch: int) -> tuple[Any, ...]:
    assert info.shape is not None
    return (batch, *info.shape[1:])
