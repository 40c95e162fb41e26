"""The ONNX project's `Backend` interface over a DeepSeek target, so that ONNX's own test suite can drive it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import onnx
from onnx.backend.base import Backend as OnnxBackend
from onnx.backend.base import BackendRep

from deepseek_core.ir.frontend import load_model
from deepseek_core.options import CompileOptions
from deepseek_core.registry import Registry, discover
from deepseek_core.target import Target

if TYPE_CHECKING:
    from deepseek_core.executable import Executable

__all__ = ["DeepseekBackend", "DeepseekRep", "onnx_backend"]


class DeepseekRep(BackendRep):
    """A compiled and opened model."""

    def __init__(self, executable: Executable, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self.executable = executable
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Outputs in graph order.

        Args:
            inputs: arrays in graph order, or by name.
        """
        feeds = inputs if isinstance(inputs, Mapping) else dict(zip(self._inputs, inputs, strict=True))
        results = self.executable.run(feeds)
        return tuple(results[name] for name in self._outputs)


class DeepseekBackend(OnnxBackend):
    """Imports, compiles, opens and runs a model on one target. `onnx_backend` makes the subclass of a target."""

    target: ClassVar[Target]
    registry: ClassVar[Registry]

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> DeepseekRep:
        """Compile a model for the target and open it.

        Raises:
            DeepseekError: the model is invalid, or the target cannot run it.
        """
        backend, target = cls.registry.resolve(cls.target)
        loaded = load_model(model)
        artifact = backend.compile(loaded, target, CompileOptions())
        executable = backend.load(artifact)
        names = [info.name for info in loaded.inputs]
        return DeepseekRep(executable, names, [info.name for info in loaded.outputs])

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Any = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Outputs of one node of the default domain on arrays, in the version `opset_version` (default: the newest).

        Raises:
            DeepseekError: as `prepare`.
        """
        named = dict(zip((name for name in node.input if name), inputs, strict=True))
        infos = [
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in named.items()
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", infos, outputs)
        opset = onnx.helper.make_opsetid("", kwargs.get("opset_version", onnx.defs.onnx_opset_version()))
        model = onnx.shape_inference.infer_shapes(onnx.helper.make_model(graph, opset_imports=[opset]))
        return cls.prepare(model, device).run(named)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """ONNX speaks of CPU and CUDA; which device really runs a model is the target's business."""
        return device == "CPU"


def onnx_backend(target: Target | str, registry: Registry | None = None) -> type[DeepseekBackend]:
    """A Backend class for one target, for example `onnx.backend.test.runner.Runner(onnx_backend("cpu"))`.

    Raises:
        TargetError: no installed backend serves the target.
    """
    registry = registry if registry is not None else discover()
    _, resolved = registry.resolve(target)
    return type("DeepseekBackend", (DeepseekBackend,), {"target": resolved, "registry": registry})
