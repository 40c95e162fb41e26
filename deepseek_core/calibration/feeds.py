"""Is a calibration sample what the model takes? One-line answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deepseek_core.errors import CalibrationError
from deepseek_core.executable import Feeds
from deepseek_core.ir.model import TensorInfo, signature

__all__ = ["check_sample"]


def check_sample(sample: object, inputs: Sequence[TensorInfo], number: int) -> Feeds:
    """`sample` itself when it can be fed: a mapping with an array for every input, finite, not empty.

    Args:
        sample: what the user's iterable gave.
        inputs: what the model takes.
        number: position of the sample, from 0; for the message.

    Raises:
        CalibrationError: the first thing that is wrong with it.
    """
    where = f"calibration sample {number}"
    if not isinstance(sample, Mapping):
        raise CalibrationError(
            f"{where} is a {type(sample).__name__}, not a mapping of input name to array", fix=_give(inputs)
        )
    missing = [i.name for i in inputs if i.name not in sample]
    unknown = [str(name) for name in sample if name not in {i.name for i in inputs}]
    if missing or unknown:
        lacks = [f"lacks input {missing}"] if missing else []
        extra = [f"has unknown input {unknown}"] if unknown else []
        raise CalibrationError(f"{where} {' and '.join(lacks + extra)}", fix=_give(inputs))
    symbols: dict[str, int] = {}
    for info in inputs:
        problem = _array_problem(sample[info.name], info, symbols)
        if problem:
            raise CalibrationError(f"{where}: input '{info.name}' {problem}", fix=_give(inputs))
    return sample


def _array_problem(array: object, info: TensorInfo, symbols: dict[str, int]) -> str | None:
    if not isinstance(array, np.ndarray):
        return f"is a {type(array).__name__}, not a NumPy array"
    if str(array.dtype) != info.dtype:
        return f"has dtype {array.dtype} instead of {info.dtype}"
    if not _shape_fits(array.shape, info.shape, symbols):
        return f"has shape {list(array.shape)}"
    if array.size == 0:
        return f"is empty (shape {list(array.shape)})"
    if array.dtype.kind in "fV":  # V: the ml_dtypes floats
        bad = array.size - int(np.isfinite(array).sum())
        if bad:
            return f"holds {bad} values that are NaN or infinite"
    return None


def _shape_fits(shape: tuple[int, ...], expected: tuple[int | str | None, ...] | None, symbols: dict[str, int]) -> bool:
    """Whether a shape fits; a symbolic dimension must have one size in all inputs of a sample."""
    if expected is None:
        return True
    if len(shape) != len(expected):
        return False
    sizes = [symbols.setdefault(e, n) if isinstance(e, str) else e for n, e in zip(shape, expected, strict=True)]
    return all(size is None or size == n for n, size in zip(shape, sizes, strict=True))


def _give(inputs: Sequence[TensorInfo]) -> str:
    return f"give finite arrays for: {signature(tuple(inputs))}"
