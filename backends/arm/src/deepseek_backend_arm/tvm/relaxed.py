"""An ONNX node → Relax → calls of TIR functions in order. Runs in TVM's process.

Only what is a straight sequence of calls over fixed shapes is taken: anything that TVM leaves to its virtual machine
or to functions of its runtime is refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import tvm
from tvm import relax
from tvm.relax.backend import DispatchSortScan
from tvm.relax.frontend.onnx import from_onnx

from deepseek_backend_arm.tvm.codegen import TARGET, build_object, plain, workspaces
from deepseek_backend_arm.tvm.compiled import BUFFER, CONSTANT, INPUT, Call, Compiled, Slot
from deepseek_backend_arm.tvm.definition import defined
from deepseek_backend_arm.tvm.topk import legalized

__all__ = ["compile_node"]

_BY_DEFINITION = frozenset(("Attention", "CenterCropPad", "RotaryEmbedding", "Swish"))
"""Ops that TVM does not import, or takes for others: imported as the functions by which ONNX defines them."""
_UNTYPED = frozenset(("OneHot",))
_ALIGNMENT = 64


def compile_node(data: bytes, prefix: str) -> Compiled:
    """Compile a model of one node; symbols start with `prefix`."""
    model = onnx.ModelProto.FromString(data)
    op = model.graph.node[0].op_type
    if op in _BY_DEFINITION:
        model = defined(model)
    if op in _UNTYPED:
        _cast_result(model.graph)
    if op == "RoiAlign":
        _scale_regions(model.graph)
    module = _lowered(from_onnx(model, keep_params_in_input=False))
    return _Sequence(module, prefix).compiled()


def _cast_result(graph: onnx.GraphProto) -> None:
    """The type that the graph declares, where TVM chooses one by itself."""
    (node,), (output,) = graph.node, graph.output
    node.output[0] = "untyped"
    graph.node.append(onnx.helper.make_node("Cast", ["untyped"], [output.name], to=output.type.tensor_type.elem_type))


def _scale_regions(graph: onnx.GraphProto) -> None:
    """Regions in pixels of the image: TVM's `spatial_scale` gives others than ONNX's."""
    (node,) = graph.node
    for attribute in node.attribute:
        if attribute.name == "spatial_scale":
            scale = onnx.numpy_helper.from_array(np.array(attribute.f, np.float32), "scale")
            graph.initializer.append(scale)
            graph.node.insert(0, onnx.helper.make_node("Mul", [node.input[1], scale.name], ["scaled"]))
            node.input[1], attribute.f = "scaled", 1.0


def _lowered(module: Any) -> Any:
    passes = (
        relax.transform.LegalizeOps({"relax.topk": legalized}, skip_ops=None),
        DispatchSortScan(),
        relax.transform.LegalizeOps(),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FoldConstant(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
    )
    with TARGET:
        return tvm.transform.Sequential(list(passes))(module)


_Places = int | tuple["_Places", ...]
"""The slot of a tensor, or those of a tuple."""


class _Sequence:
    """Walks the main function of a lowered module."""

    def __init__(self, module: Any, prefix: str) -> None:
        self._module, self._prefix = module, prefix
        self._slots: list[Slot] = []
        self._calls: list[Call] = []
        self._constants = bytearray()
        self._functions: dict[str, Any] = {}
        self._known: dict[Any, _Places] = {}

    def compiled(self) -> Compiled:
        main = self._module["main"]
        for number, parameter in enumerate(main.params):
            self._known[parameter] = self._new(INPUT, parameter.ty, number)
        for block in main.body.blocks:
            for binding in block.bindings:
                self._known[binding.var] = self._value(binding.value)
        outputs = self._places(main.body.body)
        built = build_object(self._functions) if self._functions else b""
        flat = (outputs,) if isinstance(outputs, int) else outputs
        return Compiled(tuple(self._slots), tuple(self._calls), _integers(flat), bytes(self._constants), built)

    def _value(self, value: Any) -> _Places:
        if isinstance(value, relax.Call):
            name = getattr(value.op, "name", None) or str(value.op)
            if name != "relax.call_tir":
                what = value.args[0].global_symbol if name.endswith("packed") else name.removeprefix("relax.")
                raise ValueError(f"TVM leaves {what} to its runtime")
            return self._call(value)
        return self._places(value)

    def _places(self, value: Any) -> _Places:
        if isinstance(value, relax.Tuple):
            return tuple(self._places(piece) for piece in value.fields)
        if isinstance(value, relax.TupleGetItem):
            found = self._places(value.tuple_value)
            assert not isinstance(found, int)
            return found[int(value.index)]
        if isinstance(value, tvm.ir.GenericConst):
            return self._constant(value)
        if value in self._known:
            return self._known[value]
        raise ValueError(f"TVM leaves a {type(value).__name__} to its virtual machine")

    def _constant(self, value: Any) -> int:
        array = np.ascontiguousarray(value.value.numpy())
        self._constants.extend(bytes(-len(self._constants) % _ALIGNMENT))
        offset = len(self._constants)
        self._constants.extend(array.tobytes())
        self._slots.append(Slot(CONSTANT, str(array.dtype), array.shape, offset))
        return len(self._slots) - 1

    def _call(self, value: Any) -> _Places:
        if len(value.args) > 2:
            raise ValueError("TVM passes sizes at run time")
        function = self._module[value.args[0]]
        symbol = self._symbol(value.args[0].name_hint, function)
        given = value.args[1]
        arguments = _integers(
            [self._places(field) for field in (given.fields if hasattr(given, "fields") else [given])]
        )
        result = value.ty_args[0]
        several = isinstance(result, relax.TupleType)
        outputs = tuple(self._new(BUFFER, piece) for piece in (result.fields if several else [result]))
        extra = [self._add(Slot(BUFFER, str(b.dtype), tuple(int(n) for n in b.shape))) for b in workspaces(function)]
        self._calls.append(Call(symbol, (*arguments, *outputs, *extra)))
        return outputs if several else outputs[0]

    def _symbol(self, name: str, function: Any) -> str:
        symbol = f"{self._prefix}_{name}"
        if symbol not in self._functions:
            self._functions[symbol] = plain(function)
        return symbol

    def _new(self, kind: str, kept: Any, index: int = 0) -> int:
        if not isinstance(kept, relax.TensorType) or kept.shape is None:
            raise ValueError(f"TVM does not know the shape of a {type(kept).__name__} when compiling")
        try:
            sizes = tuple(int(size) for size in kept.shape)
        except TypeError:
            raise ValueError("TVM finds shapes that depend on what is computed") from None
        return self._add(Slot(kind, str(kept.dtype), sizes, index))

    def _add(self, slot: Slot) -> int:
        self._slots.append(slot)
        return len(self._slots) - 1


def _integers(places: Sequence[_Places]) -> tuple[int, ...]:
    if not all(isinstance(place, int) for place in places):
        raise ValueError("TVM gives tuples within tuples")
    return tuple(place for place in places if isinstance(place, int))
