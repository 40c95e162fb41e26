"""Calls of an ONNX model: arrays in the order of its inputs, or by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.frontends.arrays import as_array, as_tensor, is_tensor, is_tensor_like
from deepseek.quantization.frontends.network import Tensors
from deepseek_core import Feeds, QuantizedModel
from deepseek_core.errors import CalibrationError, FeedError
from deepseek_core.ir.model import signature

__all__ = ["NamedCalls"]


class NamedCalls:
    """`f(a, b)`, `f(x=a, y=b)` or `f({"x": a, "y": b})`.

    One output comes as it is, several as a tuple in the model's order; a call with a mapping gets a mapping.
    """

    def __init__(self, model: QuantizedModel) -> None:
        self._inputs = model.inputs
        self._outputs = tuple(info.name for info in model.outputs)

    def call(self, run: Callable[[Feeds], Tensors], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """See `Calls`."""
        by_name = len(args) == 1 and isinstance(args[0], Mapping)
        given = {**args[0], **kwargs} if by_name else {**self._in_order(args), **kwargs}
        outputs = run({str(name): _array(value, str(name)) for name, value in given.items()})
        as_torch = any(map(is_tensor, given.values()))
        found = {name: as_tensor(outputs[name]) if as_torch else outputs[name] for name in self._outputs}
        if by_name:
            return found
        return next(iter(found.values())) if len(found) == 1 else tuple(found.values())

    def element(self, element: Any, number: int) -> Tensors:
        """See `Calls`; parts of a tuple that are more than the inputs are labels, and ignored."""
        if isinstance(element, Mapping):
            given = dict(element)
        else:
            parts = [element] if is_tensor_like(element) else list(element) if isinstance(element, tuple | list) else []
            if len(parts) < len(self._inputs):
                raise CalibrationError(
                    f"calibration sample {number} is a {type(element).__name__} of {len(parts)} arrays",
                    fix=f"give arrays for: {self._signature}",
                )
            given = dict(zip((info.name for info in self._inputs), parts, strict=False))
        ranks = {info.name: None if info.shape is None else len(info.shape) for info in self._inputs}
        return {str(k): _batched(_sample(v, str(k), number), ranks.get(str(k))) for k, v in given.items()}

    def _in_order(self, args: tuple[Any, ...]) -> dict[str, Any]:
        if len(args) > len(self._inputs):
            raise FeedError(f"{len(args)} arguments for inputs {self._signature}", fix="give one for each input")
        return dict(zip((info.name for info in self._inputs), args, strict=False))

    @property
    def _signature(self) -> str:
        return signature(self._inputs)


def _array(value: Any, name: str) -> NDArray[Any]:
    if not is_tensor_like(value):
        raise FeedError(
            f"input '{name}' is a {type(value).__name__}, not an array", fix="convert it with numpy.asarray"
        )
    return as_array(value)


def _sample(value: Any, name: str, number: int) -> NDArray[Any]:
    if not is_tensor_like(value):
        raise CalibrationError(
            f"calibration sample {number}: input '{name}' is a {type(value).__name__}",
            fix="give a NumPy array or a torch tensor",
        )
    return as_array(value)


def _batched(array: NDArray[Any], rank: int | None) -> NDArray[Any]:
    """A sample without its batch axis gets one."""
    return array[np.newaxis] if rank is not None and array.ndim == rank - 1 else array
