"""A small network whose every kind of kernel matters to the result, quantized once; and images of it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepseek_backend_arm.emulator import find_qemu
from deepseek_backend_arm.server import Server
from deepseek_backend_arm.sources import LIBRARY, sources
from deepseek_backend_arm.toolchain import installed
from deepseek_core import CalibratorSpec, CompileOptions, QuantizedModel, discover
from deepseek_core.pipeline import quantize

SHAPE = (1, 3, 19, 17)


def _network(path: Path) -> Path:
    """3 × 3 convolution, depthwise, residual block with 1 × 1, global average, Gemm."""
    rng = np.random.default_rng(3)
    weights: list[onnx.TensorProto] = []

    def constant(name: str, *shape: int, scale: float = 0.2) -> str:
        values = rng.standard_normal(shape) ** 3 * scale  # heavy tails, as trained weights have them
        weights.append(numpy_helper.from_array(values.astype(np.float32), name))
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
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


@pytest.fixture(scope="session")
def float_network(tmp_path_factory) -> Path:
    return _network(tmp_path_factory.mktemp("network") / "small.onnx")


@pytest.fixture(scope="session")
def network(float_network) -> QuantizedModel:
    rng = np.random.default_rng(4)
    samples = [{"x": rng.standard_normal(SHAPE).astype(np.float32)} for _ in range(4)]
    return quantize(float_network, samples, targets=["arm:arm64"], calibrator=CalibratorSpec("minmax"))


@pytest.fixture(scope="session")
def sample() -> np.ndarray:
    return np.random.default_rng(5).standard_normal(SHAPE).astype(np.float32)


@pytest.fixture(scope="session")
def expected(network, sample) -> np.ndarray:
    """What the reference backend gives."""
    backend, target = discover().resolve("reference")
    return backend.load(backend.compile(network, target, CompileOptions())).run({"x": sample})["y"]


@pytest.fixture(scope="session")
def judged(sample, expected) -> tuple[np.ndarray, np.ndarray]:
    """An input with the output that belongs to it."""
    return sample, expected


@pytest.fixture(scope="session")
def toolchain() -> None:
    if installed() is None or find_qemu() is None:
        pytest.skip("no C compiler for ARM64, or no QEMU")


@pytest.fixture(scope="session")
def image(network, toolchain, tmp_path_factory) -> Path:
    """The network as one executable."""
    backend, target = discover().resolve("arm64")
    path = tmp_path_factory.mktemp("image") / "firmware.bin"
    path.write_bytes(backend.cross_compile(network, target, "bin", CompileOptions()).payload)
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def run_image(image):
    """The function that runs the image on an emulated CPU."""

    def run(*words: str, cpu: str = "cortex-a72") -> subprocess.CompletedProcess[str]:
        command = [find_qemu(), "-cpu", cpu, str(image), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    return run


@pytest.fixture(scope="session")
def portable(native_compiler) -> Iterator[Server]:
    """The portable kernels in a process under sanitizers."""
    checks = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    server = Server([str(_built("serve", (*LIBRARY, "serve"), *checks))])
    yield server
    server.close()


@pytest.fixture(scope="session")
def built(native_compiler) -> Callable[..., Path]:
    """Builds a program or library of some of the sources, of portable kernels."""
    return _built


@pytest.fixture(scope="session")
def native_compiler() -> str:
    found = shutil.which("gcc")
    if found is None:
        pytest.skip("no C compiler for this machine")
    return found


def _built(name: str, parts: tuple[str, ...], *flags: str) -> Path:
    """A program or library of some of the sources."""
    folder = Path(tempfile.mkdtemp())
    for file, text in sources().items():
        (folder / file).write_text(text)
    files = [f"{part}.c" for part in parts]
    base = ["gcc", "-std=gnu11", "-O1", "-ffp-contract=off", "-DDS_PORTABLE", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*base, *flags, *files, "-o", name, "-lm", "-lpthread"], cwd=folder, check=True)
    return folder / name
