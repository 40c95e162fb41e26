"""Arrays of types that ONNX Runtime holds but NumPy proper has no word for: bfloat16, float8, int4."""

from __future__ import annotations

import ctypes
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_backend_cpu.session import import_runtime

__all__ = ["EXTENDED", "dtype_name", "from_ort", "to_ort"]

EXTENDED = {
    "tensor(bfloat16)": (ir.DataType.BFLOAT16, np.dtype(ml_dtypes.bfloat16)),
    "tensor(float8e4m3fn)": (ir.DataType.FLOAT8E4M3FN, np.dtype(ml_dtypes.float8_e4m3fn)),
    "tensor(float8e4m3fnuz)": (ir.DataType.FLOAT8E4M3FNUZ, np.dtype(ml_dtypes.float8_e4m3fnuz)),
    "tensor(float8e5m2)": (ir.DataType.FLOAT8E5M2, np.dtype(ml_dtypes.float8_e5m2)),
    "tensor(float8e5m2fnuz)": (ir.DataType.FLOAT8E5M2FNUZ, np.dtype(ml_dtypes.float8_e5m2fnuz)),
    "tensor(int4)": (ir.DataType.INT4, np.dtype(ml_dtypes.int4)),
    "tensor(uint4)": (ir.DataType.UINT4, np.dtype(ml_dtypes.uint4)),
}
"""Type as ONNX Runtime writes it → ONNX element type and ml_dtypes dtype."""

_NAMES = {"float": "float32", "double": "float64", "string": "object"}


def dtype_name(kind: str) -> str:
    """NumPy name of `tensor(…)`; `unknown` for sequences, optionals and maps."""
    if kind in EXTENDED:
        return str(EXTENDED[kind][1])
    inner = kind.removeprefix("tensor(").removesuffix(")")
    return _NAMES.get(inner, inner) if kind.startswith("tensor(") else "unknown"


def to_ort(array: NDArray[Any], kind: str) -> Any:
    """An OrtValue with the array's bits (4-bit types packed two to a byte, low nibble first)."""
    runtime = import_runtime()
    if kind not in EXTENDED:
        return runtime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
    code = EXTENDED[kind][0]
    value = runtime.OrtValue.ortvalue_from_shape_and_type(list(array.shape), int(code))
    data = ir.tensor(np.ascontiguousarray(array), dtype=code).tobytes()
    ctypes.memmove(value.data_ptr(), data, len(data))
    return value


def from_ort(value: Any) -> Any:
    """The array in an OrtValue (a list of arrays for a sequence)."""
    kind = value.data_type()
    if kind not in EXTENDED:
        return value.numpy() if value.is_tensor() else value._ortvalue.to_python_value()
    code, dtype = EXTENDED[kind]
    shape = tuple(value.shape())
    count = int(np.prod(shape, dtype=np.int64))
    bytes_ = ctypes.string_at(value.data_ptr(), (count * code.bitwidth + 7) // 8)
    if code.bitwidth >= 8:
        return np.frombuffer(bytes_, dtype).reshape(shape).copy()
    packed = np.frombuffer(bytes_, np.uint8)
    nibbles = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)[:count].astype(np.int16)
    signed = nibbles - 16 * (nibbles > 7) if code is ir.DataType.INT4 else nibbles
    return signed.astype(dtype).reshape(shape)
