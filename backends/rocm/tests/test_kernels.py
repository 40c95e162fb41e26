"""Kernels: their parameters, their machine code, and their results from the emulator."""

from __future__ import annotations

import importlib
import inspect
import struct

import numpy as np
import pytest

from deepseek_backend_rocm.building import build
from deepseek_backend_rocm.devices.emulated import EmulatedDevice
from deepseek_backend_rocm.kernels.signatures import SIGNATURES, Variant
from deepseek_backend_rocm.runtime import RocmExecutable
from deepseek_backend_rocm.selection.model import matrix_count
from deepseek_backend_rocm.targets import GPUS
from deepseek_backend_rocm.verification.checking import check
from deepseek_backend_rocm.verification.sampling import KINDS


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_signature_is_that_of_its_kernel(triton, name) -> None:
    signature = SIGNATURES[name]
    function = getattr(importlib.import_module(f"deepseek_backend_rocm.kernels.{signature.module}"), name)
    own = (*signature.pointers, *signature.integers, *signature.reals, *signature.constants)
    assert tuple(function.arg_names) == own
    assert inspect.getdoc(function.fn)


def test_arguments_are_packed_in_order() -> None:
    signature = SIGNATURES["softmax"]
    data = signature.pack({"rows": 3, "count": 5, "zero": -7, "y_scale": 0.5})
    assert len(data) == signature.size == 56
    assert struct.unpack_from("<3i", data, 24) == (3, 5, -7)
    assert struct.unpack_from("<f", data, 36) == (0.5,)
    assert signature.position("y") == 16
    with pytest.raises(KeyError):
        signature.pack({"rows": 3})


@pytest.mark.parametrize("gpu", GPUS)
def test_int8_products_use_the_matrix_instruction(triton, gpu) -> None:
    constants = {"BM": 32, "BN": 32, "BK": 32, "MODE": 0, "EVEN": True, "ADD": False, "REAL": False}
    hints = (("depth", 16), ("c", 16), ("x_row", 16))
    built = build(Variant.of("conv", constants, types={"y": "i8"}, divisible=hints, warps=1), gpu)
    assert built.code[:4] == b"\x7fELF"
    assert matrix_count(built.listing, GPUS[gpu]) > 0
    assert built.listing.spills == 0
    assert built.listing.inner


def test_a_code_object_comes_from_the_cache_or_not_at_all(triton, monkeypatch, tmp_path) -> None:
    from deepseek_backend_rocm import building

    monkeypatch.setenv("DEEPSEEK_CACHE_DIR", str(tmp_path))
    variant = Variant.of("fill", {"BLOCK": 256}, warps=1)
    first = build(variant, "gfx1100")
    (path,) = [path for path in tmp_path.rglob("fill-*") if path.is_file()]
    building._build.cache_clear()
    monkeypatch.setattr(building, "_compile", lambda *_: pytest.fail("it is in the cache"))
    assert build(variant, "gfx1100").code == first.code
    path.write_bytes(path.read_bytes()[:-1] + b"\0")  # no longer what its checksum says
    building._build.cache_clear()
    monkeypatch.setattr(building, "_compile", lambda *_: first)
    assert build(variant, "gfx1100").code == first.code
    building._build.cache_clear()


@pytest.mark.parametrize("architecture", ["gfx942", "gfx1100"])
@pytest.mark.parametrize("kind", KINDS)
def test_units_are_the_references_bit_for_bit(triton, kind, architecture) -> None:
    """The first seeds of those that the benchmark draws; of kinds with code of their own in every unit, one."""
    verdicts = [check(kind, seed, architecture) for seed in range(1 if kind in ("attention", "long product") else 3)]
    assert [verdict.text for verdict in verdicts if verdict.wrong] == []
    assert any(verdict.elements for verdict in verdicts)


@pytest.mark.parametrize("architecture", ["gfx942", "gfx1100"])
def test_a_network_is_the_references_bit_for_bit(fat, judged, architecture) -> None:
    sample, expected = judged
    executable = RocmExecutable(fat, EmulatedDevice(architecture))
    np.testing.assert_array_equal(executable.run({"x": sample})["y"], expected)
    executable.close()
