"""Arrays on the device, by both protocols."""

import ctypes

import numpy as np
import pytest
import torch

from deepseek_backend_tensorrt.vendor.arrays import _Device, _Tensor, _Type, _Versioned, device_array
from deepseek_backend_tensorrt.vendor.failure import VendorError


class _Interface:
    def __init__(self, **interface: object) -> None:
        self.__cuda_array_interface__ = {
            "shape": (2, 3),
            "typestr": "<f4",
            "data": (4096, False),
            "version": 3,
            **interface,
        }


class _DLPack:
    """A DLPack capsule over made-up memory."""

    def __init__(
        self, *, device: int = 2, code: int = 2, bits: int = 32, lanes: int = 1, strides=None, versioned=False
    ) -> None:
        shape = (ctypes.c_int64 * 2)(2, 3)
        steps = None if strides is None else (ctypes.c_int64 * 2)(*strides)
        pointer = ctypes.POINTER(ctypes.c_int64)
        tensor = _Tensor(
            4096,
            _Device(device, 0),
            2,
            _Type(code, bits, lanes),
            ctypes.cast(shape, pointer),
            pointer() if steps is None else ctypes.cast(steps, pointer),
            64,
        )
        self._kept = shape, steps, _Versioned(1, 0, None, None, 0, tensor) if versioned else tensor
        self._name = b"dltensor_versioned" if versioned else b"dltensor"

    def __dlpack__(self) -> object:
        make = ctypes.pythonapi.PyCapsule_New
        make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        return make(ctypes.addressof(self._kept[2]), self._name, None)


@pytest.mark.parametrize(
    ("typestr", "dtype"),
    [("<f4", "float32"), ("<f2", "float16"), ("|i1", "int8"), ("<i8", "int64"), ("|b1", "bool"), ("|u1", "uint8")],
)
def test_the_interface_is_read_and_given_back(typestr, dtype) -> None:
    found = device_array(_Interface(typestr=typestr))
    assert (found.pointer, found.shape, found.dtype) == (4096, (2, 3), dtype)
    assert device_array(_Interface(**found.__cuda_array_interface__)).dtype == dtype
    assert found.__cuda_array_interface__["typestr"] == typestr
    assert device_array(found) is found


@pytest.mark.parametrize("versioned", [False, True])
def test_dlpack_is_read_with_its_offset(versioned) -> None:
    found = device_array(_DLPack(versioned=versioned))
    assert (found.pointer, found.shape, found.dtype) == (4096 + 64, (2, 3), "float32")
    assert device_array(_DLPack(code=4, bits=16)).dtype == "bfloat16"
    assert device_array(_DLPack(strides=(3, 1))).shape == (2, 3)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (_Interface(strides=(4, 8)), "not contiguous"),
        (_Interface(typestr="<c8"), "not known"),
        (_DLPack(device=1), "host memory"),
        (_DLPack(strides=(1, 2)), "not contiguous"),
        (_DLPack(lanes=4), "not known"),
        (_DLPack(code=5), "not known"),
        (object(), "no array on a device"),
        (torch.zeros(2, 3), "host memory"),
        (np.zeros((2, 3), np.float32), "host memory"),
    ],
)
def test_what_cannot_be_taken_is_refused(value, said) -> None:
    with pytest.raises(VendorError, match=said):
        device_array(value)


def test_a_single_row_is_contiguous_whatever_its_strides() -> None:
    assert device_array(_Interface(shape=(1, 3), strides=(999 * 4, 4))).shape == (1, 3)
