"""The border of a part: its tensors, and the host's conversions between float and codes, done and kept as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.lowering.program import HostStep
from deepseek_core import DType, Granularity, QParams, QuantScheme, TensorInfo

__all__ = ["convert", "from_step", "to_info", "to_step"]


def convert(steps: Sequence[HostStep], values: dict[str, NDArray[Any]]) -> None:
    """Add each step's result to the host's values, by name."""
    for step in steps:
        source = values[step.source]
        values[step.result] = step.qparams.quantize(source) if step.quantizes else step.qparams.dequantize(source)


def from_step(step: HostStep) -> dict[str, Any]:
    """A conversion as plain JSON."""
    scheme = step.qparams.scheme
    return {
        "quantizes": step.quantizes,
        "source": step.source,
        "result": step.result,
        "dtype": str(scheme.dtype),
        "granularity": str(scheme.granularity),
        "axis": scheme.axis,
        "block_size": scheme.block_size,
        "scale": step.qparams.scale.tolist(),
        "zero": step.qparams.zero_point.astype(np.int64).tolist(),
    }


def to_step(entry: Mapping[str, Any]) -> HostStep:
    """The conversion that `from_step` wrote."""
    dtype = DType(entry["dtype"])
    scheme = QuantScheme(dtype, Granularity(entry["granularity"]), axis=entry["axis"], block_size=entry["block_size"])
    zero = np.array(entry["zero"]).astype(str(dtype))
    qparams = QParams(scheme, np.array(entry["scale"], np.float32), zero)
    return HostStep(bool(entry["quantizes"]), entry["source"], entry["result"], qparams)


def to_info(entry: Mapping[str, Any]) -> TensorInfo:
    """A tensor's description, from its listing."""
    return TensorInfo(entry["name"], entry["dtype"], None if entry["shape"] is None else tuple(entry["shape"]))
