"""Arrays that lie on the device already: `__cuda_array_interface__` (version 3) and DLPack (version 0 and 1)."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from deepseek_backend_tensorrt.vendor.failure import VendorError

__all__ = ["DeviceArray", "device_array"]

_CUDA = 2
_KINDS = {"f": "float", "i": "int", "u": "uint", "b": "bool"}
_CODES = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 6: "bool"}


@dataclass(frozen=True)
class DeviceArray:
    """Contiguous memory of a device.

    Attributes:
        pointer: address on the device.
        shape: dimensions.
        dtype: NumPy's name of the element type.
        owner: what keeps the memory alive.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: str
    owner: Any = None

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        kind, size = self.dtype.rstrip("0123456789"), self.dtype.lstrip("abcdefghijklmnopqrstuvwxyz_")
        letter = {name: letter for letter, name in _KINDS.items()}[kind]
        typestr = f"|{letter}1" if kind == "bool" or size == "8" else f"<{letter}{int(size) // 8}"
        return {"shape": self.shape, "typestr": typestr, "data": (self.pointer, False), "version": 3, "strides": None}


def device_array(value: Any) -> DeviceArray:
    """The memory of an array of torch, CuPy, Numba, JAX or anything else that speaks one of the two protocols.

    Raises:
        VendorError: it does not, is not contiguous, or lies elsewhere.
    """
    if isinstance(value, DeviceArray):
        return value
    try:
        interface = getattr(value, "__cuda_array_interface__", None)
    except (TypeError, RuntimeError):  # torch has none for bfloat16, and says so by raising
        interface = None
    if interface is not None:
        return _from_interface(value, interface)
    if hasattr(value, "__dlpack__"):
        return _from_dlpack(value)
    raise VendorError(
        f"a {type(value).__name__} is no array on a device",
        "pass a CUDA tensor, or use `run` for NumPy arrays",
        "shape",
    )


def _from_interface(value: Any, interface: dict[str, Any]) -> DeviceArray:
    text, shape = interface["typestr"], tuple(interface["shape"])
    letter, size = text[1], int(text[2:])
    if letter not in _KINDS:
        raise VendorError(f"elements of type '{text}' are not known", "convert the array", "shape")
    strides = interface.get("strides")
    if strides is not None:
        _check_strides(shape, tuple(stride // size for stride in strides))
    dtype = "bool" if letter == "b" else f"{_KINDS[letter]}{8 * size}"
    return DeviceArray(int(interface["data"][0]), shape, dtype, value)


def _check_strides(shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != expected:
            raise VendorError("the array is not contiguous", "make it contiguous first", "shape")
        expected *= size


class _Device(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int32), ("id", ctypes.c_int32))


class _Type(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


def _from_dlpack(value: Any) -> DeviceArray:
    """The capsule is only looked at, never consumed: it and the array keep the memory alive."""
    capsule = value.__dlpack__()
    tensor = _tensor(capsule)
    if tensor.device.type != _CUDA:
        raise VendorError("the array lies in host memory", "move it to the device, or use `run`", "shape")
    code, bits = tensor.dtype.code, tensor.dtype.bits
    if code not in _CODES or tensor.dtype.lanes != 1:
        raise VendorError(
            f"elements of DLPack type {code} with {bits} bits are not known", "convert the array", "shape"
        )
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    if tensor.strides:
        _check_strides(shape, tuple(tensor.strides[axis] for axis in range(tensor.ndim)))
    dtype = "bool" if _CODES[code] == "bool" else f"{_CODES[code]}{bits}"
    return DeviceArray((tensor.data or 0) + tensor.byte_offset, shape, dtype, (value, capsule))


def _tensor(capsule: Any) -> _Tensor:
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    valid = ctypes.pythonapi.PyCapsule_IsValid
    valid.restype, valid.argtypes = ctypes.c_int, (ctypes.py_object, ctypes.c_char_p)
    if valid(capsule, b"dltensor_versioned"):
        address = pointer(capsule, b"dltensor_versioned")
        tensor: _Tensor = ctypes.cast(address, ctypes.POINTER(_Versioned)).contents.tensor
        return tensor
    return ctypes.cast(pointer(capsule, b"dltensor"), ctypes.POINTER(_Tensor)).contents
