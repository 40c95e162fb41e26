"""Cycles and instructions of the ARM backend's matrix kernels, as `deepseek_backend_arm.selection.estimate` keeps them.

For each kernel two programs of one product, which differ in depth only, and a line through the figures.
"""

from __future__ import annotations

import tempfile
from math import ceil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from arm_cycles import Blocks, Estimate
from deepseek_backend_arm.emulator import find_qemu
from deepseek_backend_arm.selection import WAYS
from deepseek_backend_arm.selection.estimate import KERNELS, Kernel
from deepseek_core import CompileOptions, discover
from deepseek_core.cross import cross_compile
from deepseek_core.ir.frontend import load_model
from harness import Figure, Options, main

POSITIONS, CHANNELS, DEPTHS = 120, 64, (64, 576)
CORES = {
    "neon": ("cortex-a72", "cortex-a72"),
    "dotprod": ("neoverse-n1", "neoverse-n1"),
    "i8mm": ("max", "neoverse-n2"),
}
"""Instruction set → what QEMU emulates, what llvm-mca simulates."""


def measure(options: Options) -> list[Figure]:
    """Four figures a kernel."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        blocks = Blocks(str(find_qemu()), folder)
        for level, names in WAYS.items():
            for kernel in names:
                runs = [_run(blocks, level, kernel, depth, folder) for depth in DEPTHS]
                tile = KERNELS[kernel]
                figures += _line(f"{kernel}: cycles", tile, *(run.threads[0] for run in runs), kept=tile.cycles)
                counts = [run.instructions for run in runs]
                figures += _line(f"{kernel}: instructions", tile, *counts, kept=tile.instructions)
    return figures


def _line(title: str, tile: Kernel, first: float, second: float, *, kept: tuple[float, float]) -> list[Figure]:
    tiles = POSITIONS // 30 * ceil(30 / tile.rows) * ceil(CHANNELS / tile.channels)
    block = 16 * (second - first) / (DEPTHS[1] - DEPTHS[0]) / tiles
    once = first / tiles - block * DEPTHS[0] / 16
    note = f"{tile.rows} x {tile.channels}"
    return [
        Figure(f"{title} of a tile for 16 codes of depth", block, note=f"{note}; kept: {kept[0]}"),
        Figure(f"{title} of a tile besides", once, note=f"{note}; kept: {kept[1]}"),
    ]


def _run(blocks: Blocks, level: str, kernel: str, depth: int, folder: Path) -> Estimate:
    image = folder / "image"
    options = CompileOptions(extra={"arm.kernels": kernel})
    image.write_bytes(cross_compile(load_model(_product(depth)), "arm64", registry=discover(), options=options).payload)
    image.chmod(0o755)
    cpu, core = CORES[level]
    return blocks.estimate(cpu, image, 1, core)


def _product(depth: int) -> onnx.ModelProto:
    """Codes times constant codes, small enough for sums of four."""
    weights = np.random.default_rng(0).integers(-60, 61, (depth, CHANNELS)).astype(np.int8)
    one, zero = np.array(0.01, np.float32), np.array(0, np.int8)
    constants = [numpy_helper.from_array(a, n) for n, a in (("w", weights), ("s", one), ("z", zero))]
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["b"]),
        helper.make_node("MatMul", ["a", "b"], ["c"], name="product"),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.INT8, [POSITIONS, depth])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.INT8, [POSITIONS, CHANNELS])]
    graph = helper.make_graph(nodes, "product", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


if __name__ == "__main__":
    main(__doc__ or "", measure, ("deepseek-backend-arm", "deepseek-core", "numpy"))
