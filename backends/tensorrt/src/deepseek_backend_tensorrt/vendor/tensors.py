"""What an engine takes and gives: names, element types, dimensions, and the shapes its profiles allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepseek_backend_tensorrt.vendor.failure import VendorError

__all__ = ["DTYPES", "Tensor", "check_shapes", "elements", "tensors_of"]

DTYPES = {
    "FLOAT": ("float32", 4),
    "HALF": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "FP8": ("float8_e4m3fn", 1),
    "INT8": ("int8", 1),
    "UINT8": ("uint8", 1),
    "INT32": ("int32", 4),
    "INT64": ("int64", 8),
    "BOOL": ("bool", 1),
}
"""TensorRT's name → NumPy's name and bytes of an element."""


@dataclass(frozen=True)
class Tensor:
    """An input or output of an engine; dimensions that vary are -1."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    is_input: bool
    item: int

    def size(self, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor of this shape."""
        return elements(shape) * self.item


def elements(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def tensors_of(engine: Any) -> tuple[Tensor, ...]:
    """Inputs and outputs in the engine's order."""
    found = []
    for number in range(engine.num_io_tensors):
        name = engine.get_tensor_name(number)
        kind = engine.get_tensor_dtype(name).name
        if kind not in DTYPES:
            raise VendorError(f"'{name}' has elements of type {kind}", "compile the model again", "plan")
        dtype, item = DTYPES[kind]
        is_input = engine.get_tensor_mode(name).name == "INPUT"
        found.append(Tensor(name, dtype, tuple(engine.get_tensor_shape(name)), is_input, item))
    return tuple(found)


def check_shapes(engine: Any, inputs: tuple[Tensor, ...], shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The first profile that takes these shapes.

    Raises:
        VendorError: none does; says what each input may have.
    """
    for tensor in inputs:
        given = tuple(shapes.get(tensor.name, ()))
        fits = len(given) == len(tensor.shape) and all(d in (-1, g) for d, g in zip(tensor.shape, given, strict=True))
        if not fits:
            raise VendorError(
                f"input '{tensor.name}' has shape {_text(given)}; the engine takes {_text(tensor.shape)}",
                "feed the shape that the model was compiled for",
                "shape",
            )
    varying = [tensor for tensor in inputs if -1 in tensor.shape]
    if not varying:
        return 0
    refusals = []
    for profile in range(engine.num_optimization_profiles):
        refusal = next(filter(None, (_outside(engine, tensor, profile, shapes) for tensor in varying)), None)
        if refusal is None:
            return profile
        refusals.append(refusal)
    raise VendorError(
        f"{'; '.join(refusals)}",
        "feed a shape within the profile, or compile with --set tensorrt.profile=…",
        "shape",
    )


def _outside(engine: Any, tensor: Tensor, profile: int, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    low, _, high = (tuple(shape) for shape in engine.get_tensor_profile_shape(tensor.name, profile))
    given = tuple(shapes[tensor.name])
    if all(a <= size <= b for a, size, b in zip(low, given, high, strict=True)):
        return None
    return f"input '{tensor.name}' has shape {_text(given)}, outside profile {profile}: {_text(low)} to {_text(high)}"


def _text(shape: tuple[int, ...]) -> str:
    return f"[{', '.join('?' if size < 0 else str(size) for size in shape)}]"
