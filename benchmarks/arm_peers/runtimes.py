"""Instructions per inference of other runtimes, on the emulated CPU that the images are counted on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arm_counting import Counter
from arm_peers.environments import device_packages, host_python
from arm_peers.sysroot import PYTHON, sysroot
from quantization.cache import build, code, digest, root

__all__ = ["RUNTIMES", "Counted", "Runtime"]

_HERE = Path(__file__).parent
_IREE = (
    *("--iree-input-type=onnx", "--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu"),
    *("--iree-llvmcpu-target-triple=aarch64-linux-gnu", "--iree-opt-level=O3"),
)


@dataclass(frozen=True, slots=True)
class Counted:
    """One inference: its instructions, and its outputs in the model's order."""

    instructions: int
    outputs: tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True)
class Runtime:
    """A peer that runs ONNX files.

    Attributes:
        key: of its packages and its script.
        title: for people.
        compiled: ONNX file, core, place → what its script opens; None where that is the ONNX file itself.
    """

    key: str
    title: str
    compiled: Callable[[Path, str, Path], None] | None = None

    def count(self, model: Path, feeds: Path, cpu: str, counter: Counter) -> Counted:
        """One inference of a model on an emulated CPU. Kept: it is the same every time.

        Args:
            model: ONNX file with static shapes.
            feeds: .npz with its inputs, in the model's order.

        Raises:
            RuntimeError: it fails; the message is its last line.
        """
        own = code([_HERE / "environments.py", _HERE / "tvm_build.py", _HERE / "device" / "once.py", self._script])
        with np.load(feeds, allow_pickle=False) as file:  # the file itself has its date in it
            data = [f"{name} {file[name].tolist()}" for name in file.files]
        key = f"{self.key}-{model.stem}-{cpu}-{digest([model], own, *_IREE, *data)}"
        kept = build(root() / "arm" / key, lambda folder: self._run(model, feeds, cpu, counter, folder))
        with np.load(kept / "outputs.npz", allow_pickle=False) as file:
            outputs = tuple(file[name] for name in file.files)
        return Counted(int((kept / "instructions").read_text()), outputs)

    @property
    def _script(self) -> Path:
        return _HERE / "device" / f"{self.key}_run.py"

    def _run(self, model: Path, feeds: Path, cpu: str, counter: Counter, folder: Path) -> None:
        opened = model
        if self.compiled is not None:
            opened = folder / "model.so"
            self.compiled(model, cpu, opened)
        place = sysroot(cpu)
        variables = {"PYTHONPATH": str(device_packages(self.key)), "PYTHONDONTWRITEBYTECODE": "1"}
        variables |= {"PYTHONHASHSEED": "0", "TVM_NUM_THREADS": "1"}
        command = [str(place / PYTHON), str(self._script), str(opened), str(feeds), str(folder / "outputs.npz")]
        marks = counter.marks(cpu, command, place, variables)
        if len(marks) != 2:
            raise RuntimeError(f"{self.title} on {cpu}: one inference lies between two marks, {len(marks)} were seen")
        (folder / "instructions").write_text(str(marks[1] - marks[0]))
        (folder / "model.so").unlink(missing_ok=True)


def _iree(model: Path, cpu: str, place: Path) -> None:
    tools, graph = [str(host_python("iree")), "-m"], place.with_suffix(".mlir")
    _tool([*tools, "iree.compiler.tools.import_onnx", str(model), "-o", str(graph)])
    words = [str(graph), *_IREE, f"--iree-llvmcpu-target-cpu={cpu}", "-o", str(place)]
    _tool([*tools, "iree.compiler.tools.scripts.iree_compile", *words])
    graph.unlink()


def _tvm(model: Path, cpu: str, place: Path) -> None:
    _tool([str(host_python("tvm")), str(_HERE / "tvm_build.py"), str(model), cpu, str(place)])


def _tool(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise RuntimeError(f"{Path(command[0]).name}: {lines[-1][:300]}")


RUNTIMES = (Runtime("onnxruntime", "ONNX Runtime"), Runtime("iree", "IREE", _iree), Runtime("tvm", "TVM", _tvm))
