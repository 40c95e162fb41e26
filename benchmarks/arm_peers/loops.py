"""A float network as a C program of plain loops, compiled at `-O2` without anything by hand: the naive baseline."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from arm_counting import Counter
from arm_peers.runtimes import Counted
from deepseek_core import QuantizedModel
from quantization.cache import build, code, digest, root

__all__ = ["count_loops"]

_HERE = Path(__file__).parent
_COMPILE = ("aarch64-linux-gnu-gcc", "-std=gnu11", "-O2", "-static")
_MAIN = """
int main(int count, char **words) {{
    w = load("weights.bin", {weights});
    float *x = load("input.bin", {inputs});
    run(x);
    getppid();
    float *y = run(x);
    getppid();
    save("output.bin", y, {outputs});
    return 0;
}}
"""


def count_loops(model: QuantizedModel, feed: NDArray[np.float32], cpu: str, counter: Counter, title: str) -> Counted:
    """One inference of a float model with one input and one output, of static shapes.

    Raises:
        RuntimeError: an operator that has no loop, or the program fails.
    """
    own = code([_HERE / "loops.py"])
    key = f"loops-{title}-{cpu}-{digest([_HERE / 'loops.c'], own, model.digest(), str(feed.tobytes()))}"
    kept = build(root() / "arm" / key, lambda folder: _run(model, feed, cpu, counter, folder))
    return Counted(int((kept / "instructions").read_text()), (np.fromfile(kept / "output.bin", np.float32),))


def _run(model: QuantizedModel, feed: NDArray[np.float32], cpu: str, counter: Counter, folder: Path) -> None:
    (folder / "program.c").write_text((_HERE / "loops.c").read_text() + _Writer(model, folder).text())
    _channels_last(feed).tofile(folder / "input.bin")
    subprocess.run([*_COMPILE, "program.c", "-o", "program", "-lm"], cwd=folder, check=True)
    first, last = counter.marks(cpu, ["./program"], folder, {}, folder)
    (folder / "instructions").write_text(str(last - first))
    for name in ("program", "weights.bin", "input.bin"):
        (folder / name).unlink()


class _Writer:
    """Writes `run`: a buffer for each tensor, a call for each node."""

    def __init__(self, model: QuantizedModel, folder: Path) -> None:
        self._model, self._names = model, {model.graph.inputs[0].name: "x"}
        self._weights = 0
        self._file = (folder / "weights.bin").open("wb")
        self._buffers: list[str] = []

    def text(self) -> str:
        calls = [line for node in self._model.graph for line in self._node(node)]
        self._file.close()
        result = self._model.graph.outputs[0]
        ends = {"weights": self._weights, "inputs": _count(self._model.graph.inputs[0]), "outputs": _count(result)}
        body = "".join(f"    {line};\n" for line in [*calls, f"return {self._of(result)}"])
        run = f"static float *run(const float *x) {{\n{body}}}\n"
        return "\nstatic float *w;\n" + "".join(self._buffers) + run + _MAIN.format(**ends)

    def _node(self, node: ir.Node) -> Iterator[str]:
        write = _CALLS.get(node.op_type)
        if write is None:
            raise RuntimeError(f"plain loops have no {node.op_type}")
        if node.op_type in ("Reshape", "Flatten", "Identity"):
            self._names[node.outputs[0].name] = self._of(node.inputs[0])
            return
        yield write(node, [self._of(value) for value in node.inputs], self._new(node.outputs[0]))

    def _new(self, value: ir.Value) -> str:
        self._names[value.name] = name = f"b{len(self._names)}"
        self._buffers.append(f"static float {name}[{_count(value)}];\n")
        return name

    def _of(self, value: ir.Value | None) -> str:
        if value is None:
            return "NULL"
        if value.name not in self._names:
            assert value.const_value is not None, value.name
            data = _channels_last(value.const_value.numpy())
            self._names[value.name] = f"(w + {self._weights})"
            self._file.write(data.tobytes())
            self._weights += data.size
        return self._names[value.name]


def _channels_last(data: NDArray[np.generic]) -> NDArray[np.float32]:
    """[n, channel, …] → [n, …, channel]; a matrix stays."""
    return np.ascontiguousarray(np.moveaxis(data, 1, -1) if data.ndim > 2 else data, np.float32)


def _shape(value: ir.Value | None) -> tuple[int, ...]:
    assert value is not None
    assert value.shape is not None
    return tuple(int(size) for size in value.shape.numpy())


def _count(value: ir.Value | None) -> int:
    return prod(_shape(value))


def _call(name: str, *arguments: object) -> str:
    return f"{name}({', '.join(map(str, arguments))})"


def _conv(node: ir.Node, x: list[str], y: str) -> str:
    (n, c, h, w), (o, _, kh, kw), (_, _, oh, ow) = (_shape(v) for v in (*node.inputs[:2], node.outputs[0]))
    strides, dilations = (node.attributes.get_ints(name, (1, 1)) for name in ("strides", "dilations"))
    top, left, *_ = node.attributes.get_ints("pads", (0, 0, 0, 0))
    groups = node.attributes.get_int("group", 1)
    bias = x[2] if len(x) > 2 else "NULL"
    return _call("conv", x[0], x[1], bias, y, n, c, h, w, o, oh, ow, kh, kw, *strides, *dilations, top, left, groups)


def _gemm(node: ir.Node, x: list[str], y: str) -> str:
    (m, k), (_, n) = _shape(node.inputs[0]), _shape(node.outputs[0])
    steps = (1, k) if node.attributes.get_int("transB", 0) else (n, 1)
    return _call("matmul", x[0], x[1], x[2] if len(x) > 2 else "NULL", y, 1, m, k, n, 0, *steps)


def _maxpool(node: ir.Node, x: list[str], y: str) -> str:
    (n, c, h, w), (_, _, oh, ow) = _shape(node.inputs[0]), _shape(node.outputs[0])
    kernel, strides = (node.attributes.get_ints(name, (1, 1)) for name in ("kernel_shape", "strides"))
    top, left, *_ = node.attributes.get_ints("pads", (0, 0, 0, 0))
    return _call("maxpool", x[0], y, n, c, h, w, oh, ow, *kernel, *strides, top, left)


def _mean(node: ir.Node, x: list[str], y: str) -> str:
    n, c, *positions = _shape(node.inputs[0])
    return _call("mean", x[0], y, n, c, prod(positions))


def _relu(node: ir.Node, x: list[str], y: str) -> str:
    return _call("clip", x[0], y, _count(node.outputs[0]), "0.0f", "FLT_MAX")


def _clip(node: ir.Node, x: list[str], y: str) -> str:
    return _call("clip", x[0], y, _count(node.outputs[0]), f"*{x[1]}", f"*{x[2]}")


def _add(node: ir.Node, x: list[str], y: str) -> str:
    if _shape(node.inputs[0]) != _shape(node.inputs[1]):
        raise RuntimeError("plain loops have no Add that repeats one side")
    return _call("add", x[0], x[1], y, _count(node.outputs[0]))


_CALLS: dict[str, Callable[[ir.Node, list[str], str], str]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MaxPool": _maxpool,
    "ReduceMean": _mean,
    "GlobalAveragePool": _mean,
    "Relu": _relu,
    "Clip": _clip,
    "Add": _add,
    **dict.fromkeys(("Reshape", "Flatten", "Identity"), _relu),
}
