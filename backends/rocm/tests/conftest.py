"""Fixtures of the ROCm backend's tests."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepseek_backend_rocm import toolchain
from deepseek_backend_rocm.program import Image, Kernel, Launch, Pointer, Port, Program
from deepseek_backend_rocm.verification.assembly import assemble, code_object, find_assembler
from deepseek_core import CalibratorSpec, CompileOptions, QuantizedModel, discover
from deepseek_core.pipeline import quantize

_ADD = """
s_load_dwordx4 s[4:7], s[0:1], 0x0
s_load_dwordx2 s[8:9], s[0:1], 0x10
s_load_dword s10, s[0:1], 0x18
v_and_b32 v0, 0x3ff, v0
s_lshl_b32 s3, s2, 6
v_add_u32 v0, s3, v0
v_lshlrev_b32 v1, 2, v0
s_waitcnt lgkmcnt(0)
v_cmp_gt_u32 vcc, s10, v0
s_and_saveexec_b64 s[12:13], vcc
s_cbranch_execz end
global_load_dword v2, v1, s[4:5]
global_load_dword v3, v1, s[6:7]
s_waitcnt vmcnt(0)
v_add_u32 v2, v2, v3
global_store_dword v1, v2, s[8:9]
end:
s_endpgm
"""
_COUNT = 100


@pytest.fixture(scope="session")
def adder_code() -> bytes:
    """For gfx942: the kernel `add` of int32 arrays, with addresses of x, y and the sum, and their length."""
    if find_assembler() is None:
        pytest.skip("llvm-mc with AMD GPUs is not installed")
    return code_object(assemble(_ADD, "gfx942"), "gfx942", name="add", arguments=32)


@pytest.fixture(scope="session")
def adder(adder_code: bytes) -> Image:
    """A part that adds a constant to an input of 100 numbers, and that to the input again."""
    size = 4 * _COUNT
    kernel = Kernel("add", "add", 0, 64, 0, 32)
    numbers = bytes(24) + struct.pack("<I", _COUNT) + bytes(4)

    def launch(x: int, y: Pointer, total: int) -> Launch:
        pointers = (Pointer(0, "arena", x, size, False), y, Pointer(16, "arena", total, size, True))
        return Launch(0, (2, 1, 1), numbers, pointers, f"sum at {total}")

    first = launch(0, Pointer(8, "constants", 0, size, False), 512)
    second = launch(0, Pointer(8, "arena", 512, size, False), 1024)
    program = Program(1536, (kernel,), (first, second))
    ports = (Port("x", "int32", (4, 25), 0),), (Port("y", "int32", (4, 25), 1024),)
    constants = struct.pack(f"<{_COUNT}i", *range(_COUNT))
    return Image(*ports, {"gfx942": program}, constants, (adder_code,))


SHAPE = (1, 3, 19, 17)


@pytest.fixture(scope="session", autouse=True)
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache of code objects for all workers: a kernel is compiled once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "rocm-cache"
    before = os.environ.get("DEEPSEEK_CACHE_DIR")
    os.environ["DEEPSEEK_CACHE_DIR"] = str(folder)
    yield folder
    if before is None:
        del os.environ["DEEPSEEK_CACHE_DIR"]
    else:
        os.environ["DEEPSEEK_CACHE_DIR"] = before


@pytest.fixture(scope="session")
def triton() -> None:
    if toolchain.installed() != toolchain.TRITON:
        pytest.skip(f"Triton {toolchain.TRITON} is not installed")


@pytest.fixture(scope="session")
def float_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 × 3 convolution, depthwise, residual block with 1 × 1, global average, Gemm: most kinds of kernels."""
    rng = np.random.default_rng(3)
    weights: list[onnx.TensorProto] = []

    def constant(name: str, *shape: int) -> str:
        weights.append(numpy_helper.from_array((rng.standard_normal(shape) * 0.3).astype(np.float32), name))
        return name

    def conv(x: str, y: str, shape: tuple[int, ...], **attributes: object) -> onnx.NodeProto:
        names = [x, constant(f"{y}.w", *shape), constant(f"{y}.b", shape[0])]
        return helper.make_node("Conv", names, [y], name=y, **attributes)

    nodes = [
        conv("x", "c1", (20, 3, 3, 3), pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"], name="r1"),
        conv("r1", "c2", (20, 1, 3, 3), pads=[1] * 4, group=20),
        helper.make_node("Clip", ["c2", "low", "high"], ["r2"], name="r2"),
        conv("r2", "c3", (20, 20, 1, 1)),
        helper.make_node("Add", ["c3", "r1"], ["a"], name="a"),
        helper.make_node("GlobalAveragePool", ["a"], ["p"], name="p"),
        helper.make_node("HardSwish", ["p"], ["h"], name="h"),
        helper.make_node("Flatten", ["h"], ["f"], name="f"),
        helper.make_node("Gemm", ["f", constant("g.w", 20, 7), constant("g.b", 7)], ["y"], name="y"),
    ]
    weights += [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in (("low", 0.0), ("high", 6.0))]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 7])]
    graph = helper.make_graph(nodes, "small", inputs, outputs, weights)
    path = tmp_path_factory.mktemp("network") / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


@pytest.fixture(scope="session")
def network(float_network: Path) -> QuantizedModel:
    rng = np.random.default_rng(4)
    samples = [{"x": rng.standard_normal(SHAPE).astype(np.float32)} for _ in range(4)]
    return quantize(float_network, samples, targets=["rocm:gfx942"], calibrator=CalibratorSpec("minmax"))


@pytest.fixture(scope="session")
def judged(network: QuantizedModel) -> tuple[np.ndarray, np.ndarray]:
    """An input, and what the reference backend gives for it."""
    sample = np.random.default_rng(5).standard_normal(SHAPE).astype(np.float32)
    backend, target = discover().resolve("reference")
    return sample, backend.load(backend.compile(network, target, CompileOptions())).run({"x": sample})["y"]


@pytest.fixture(scope="session")
def fat(network: QuantizedModel, triton: None) -> Image:
    """The network for two architectures."""
    from deepseek_backend_rocm.compiler import build_image
    from deepseek_core import Target

    options = CompileOptions(extra={"architectures": "gfx1100"})
    return build_image(network, Target("rocm", "gfx942"), options)
