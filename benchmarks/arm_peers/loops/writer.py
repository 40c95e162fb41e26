"""A float network as a C program of plain loops, compiled at `-O2` without anything by hand: the naive baseline."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from arm_counting import Counter
from arm_peers.loops import images, rows
from arm_peers.loops.call import count
from arm_peers.runtimes import Counted
from deepseek_core import QuantizedModel
from deepseek_core.passes import prepare
from quantization.cache import build, code, digest, root

__all__ = ["count_loops"]

Feeds = Mapping[str, NDArray[Any]]
_HERE = Path(__file__).parent
_SOURCE = _HERE / "loops.c"
_COMPILE = ("aarch64-linux-gnu-gcc", "-std=gnu11", "-O2", "-static")
_RENAMED = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Ops that give their first input another name: everything is float32, integers too."""
_MAIN = """
int main(int count, char **words) {{
    w = load("weights.bin", {weights});
{loads}
    run({names});
    getppid();
    float *y = run({names});
    getppid();
    save("output.bin", y, {outputs});
    return 0;
}}
"""


def count_loops(model: QuantizedModel, feeds: Feeds, cpu: str, counter: Counter, title: str) -> Counted:
    """One inference of a float model with one output, of static shapes.

    Raises:
        RuntimeError: an operator that has no loop, or the program fails.
    """
    own = code(sorted(_HERE.glob("*.py")))
    data = [f"{name} {array.tolist()}" for name, array in feeds.items()]
    key = f"loops-{title}-{cpu}-{digest([_SOURCE], own, model.digest(), *data)}"
    kept = build(root() / "arm" / key, lambda folder: _run(model, feeds, cpu, counter, folder))
    return Counted(int((kept / "instructions").read_text()), (np.fromfile(kept / "output.bin", np.float32),))


def _run(model: QuantizedModel, feeds: Feeds, cpu: str, counter: Counter, folder: Path) -> None:
    model = model.clone()
    prepare(model)
    writer = _Writer(model, folder)
    (folder / "program.c").write_text(_SOURCE.read_text() + writer.text())
    inputs = [folder / f"{name}.bin" for name in writer.inputs]
    for file, value in zip(inputs, model.graph.inputs, strict=True):
        writer.laid_out(feeds[str(value.name)]).tofile(file)
    subprocess.run([*_COMPILE, "program.c", "-o", "program", "-lm"], cwd=folder, check=True)
    first, last = counter.marks(cpu, ["./program"], folder, {}, folder)
    (folder / "instructions").write_text(str(last - first))
    for file in (folder / "program", folder / "weights.bin", *inputs):
        file.unlink()


class _Writer:
    """Writes `run`: a buffer for each tensor, a call for each node.

    Attributes:
        inputs: names in C of the network's.
    """

    def __init__(self, model: QuantizedModel, folder: Path) -> None:
        self._model, self._images = model, any(node.op_type == "Conv" for node in model.graph)
        self._calls = images.CALLS if self._images else rows.CALLS
        self.inputs = [f"x{i}" for i in range(len(model.graph.inputs))]
        self._names = dict(zip((value.name for value in model.graph.inputs), self.inputs, strict=True))
        self._weights = 0
        self._file = (folder / "weights.bin").open("wb")
        self._buffers: list[str] = []

    def text(self) -> str:
        calls = [line for node in self._model.graph for line in self._node(node)]
        self._file.close()
        result = self._model.graph.outputs[0]
        body = "".join(f"    {line};\n" for line in [*calls, f"return {self._of(result)}"])
        run = f"static float *run({', '.join(f'const float *{name}' for name in self.inputs)}) {{\n{body}}}\n"
        sizes = zip(self.inputs, map(count, self._model.graph.inputs), strict=True)
        loads = "\n".join(f'    const float *{name} = load("{name}.bin", {size});' for name, size in sizes)
        end = _MAIN.format(weights=self._weights, loads=loads, names=", ".join(self.inputs), outputs=count(result))
        return "\nstatic float *w;\n" + "".join(self._buffers) + run + end

    def laid_out(self, data: NDArray[Any]) -> NDArray[np.float32]:
        """[n, channel, …] → [n, …, channel] in networks of images; what else there is stays."""
        moved = np.moveaxis(data, 1, -1) if self._images and data.ndim > 2 else data
        return np.ascontiguousarray(moved, np.float32)

    def _node(self, node: ir.Node) -> Iterator[str]:
        if node.op_type in _RENAMED:
            self._names[node.outputs[0].name] = self._of(node.inputs[0])
            return
        write = self._calls.get(node.op_type)
        if write is None:
            raise RuntimeError(f"plain loops have no {node.op_type}")
        yield write(node, [self._of(value) for value in node.inputs], self._new(node.outputs[0]))

    def _new(self, value: ir.Value) -> str:
        self._names[value.name] = name = f"b{len(self._names)}"
        self._buffers.append(f"static float {name}[{count(value)}];\n")
        return name

    def _of(self, value: ir.Value | None) -> str:
        if value is None:
            return "NULL"
        if value.name not in self._names:
            assert value.const_value is not None, value.name
            data = self.laid_out(value.const_value.numpy())
            self._names[value.name] = f"(w + {self._weights})"
            self._file.write(data.tobytes())
            self._weights += data.size
        return self._names[value.name]
