"""Models of one unit, for measuring it alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core import QuantizedModel, Unit

__all__ = ["concrete", "feeds_for", "micro_model", "symbol_sizes", "transpose_model"]

_SEQUENCE = 64
_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


def symbol_sizes(model: QuantizedModel) -> dict[str, int]:
    """Sizes to measure symbolic dimensions with: 1 for the first axis of an input (the batch), 64 for others."""
    sizes: dict[str, int] = {}
    for info in model.inputs:
        for axis, dim in enumerate(info.shape or ()):
            if isinstance(dim, str):
                sizes.setdefault(dim, 1 if axis == 0 else _SEQUENCE)
    return sizes


def concrete(shape: ir.Shape | None, sizes: Mapping[str, int]) -> tuple[int, ...] | None:
    """The shape with every symbol replaced; None when a dimension stays unknown."""
    if shape is None:
        return None
    dims = [d if isinstance(d, int) else sizes.get(d.value or "") for d in shape]
    return None if None in dims else tuple(d for d in dims if d is not None)


def micro_model(
    unit: Unit, sizes: Mapping[str, int], channels_last: Collection[ir.Value] = ()
) -> QuantizedModel | None:
    """A model of one unit with fixed shapes; None when a shape is unknown.

    Args:
        channels_last: values at the unit's border that are fed and returned as NHWC, with transposes between.
    """
    graph = unit.node.graph
    assert graph is not None
    inputs = list(dict.fromkeys(o.value for o in unit.inputs if o is not None and not o.is_constant))
    outputs = list(dict.fromkeys(o.value for o in unit.outputs))
    used = (value for node in unit.nodes for value in node.inputs)
    constants = dict.fromkeys(v for v in used if v is not None and v.const_value is not None)
    view = ir.GraphView(
        inputs, outputs, nodes=unit.nodes, initializers=list(constants), opset_imports=graph.opset_imports, name="unit"
    )
    micro = view.clone()
    for original, value in zip(inputs, micro.inputs, strict=True):
        shape = concrete(original.shape, sizes)
        if shape is None or value.type is None:
            return None
        value.shape = ir.Shape(shape)
    _wrap_inputs(micro, [v in channels_last for v in inputs])
    _wrap_outputs(micro, [v in channels_last for v in outputs])
    return QuantizedModel(ir.Model(micro, ir_version=10))


def transpose_model(shape: tuple[int, ...]) -> QuantizedModel:
    """The change of layout between an integer and a float neighbour."""
    value = ir.Value(name="x", type=ir.TensorType(ir.DataType.UINT8), shape=ir.Shape(shape))
    node = ir.node("Transpose", [value], {"perm": _TO_NHWC}, name="transpose")
    output = node.outputs[0]
    output.name, output.type = "y", ir.TensorType(ir.DataType.UINT8)
    return QuantizedModel(ir.Model(ir.Graph([value], [output], nodes=[node], opset_imports={"": 21}), ir_version=10))


def _wrap_inputs(graph: ir.Graph, wrapped: list[bool]) -> None:
    for index, value in enumerate(list(graph.inputs)):
        if not wrapped[index] or value.shape is None:
            continue
        outer = ir.Value(name=f"{value.name}/nhwc", type=value.type, shape=_permuted(value.shape, _TO_NHWC))
        node = ir.node("Transpose", [outer], {"perm": _TO_NCHW}, name=f"{value.name}/to_nchw")
        node.outputs[0].name = f"{value.name}/nchw"
        value.replace_all_uses_with(node.outputs[0])
        graph.inputs[index] = outer
        graph.insert_before(graph[0], node)


def _wrap_outputs(graph: ir.Graph, wrapped: list[bool]) -> None:
    for index, value in enumerate(list(graph.outputs)):
        if wrapped[index]:
            node = ir.node("Transpose", [value], {"perm": _TO_NHWC}, name=f"{value.name}/to_nhwc")
            node.outputs[0].name, node.outputs[0].type = f"{value.name}/nhwc", value.type
            graph.append(node)
            graph.outputs[index] = node.outputs[0]


def _permuted(shape: ir.Shape, perm: tuple[int, ...]) -> ir.Shape:
    return ir.Shape([shape[axis] for axis in perm])


def feeds_for(session: Any, sizes: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """Random 8-bit and float data, zeros for everything else (indices must be in range).

    Raises:
        ValueError: an input has no fixed shape or is no tensor.
    """
    generator = np.random.default_rng(0)
    return {value.name: _array(value, sizes, generator) for value in session.get_inputs()}


def _array(value: Any, sizes: Mapping[str, int], generator: np.random.Generator) -> NDArray[Any]:
    shape = [dim if isinstance(dim, int) else sizes[dim] for dim in value.shape]
    match value.type:
        case "tensor(uint8)" | "tensor(int8)":
            codes = generator.integers(0, 256, shape, np.uint8)
            return codes if "uint8" in value.type else codes.view(np.int8)
        case "tensor(float)":
            return generator.standard_normal(shape, np.float32)
        case "tensor(int64)" | "tensor(int32)" | "tensor(bool)" | "tensor(uint16)" | "tensor(int16)":
            return np.zeros(shape, value.type.removeprefix("tensor(").removesuffix(")"))
        case _:
            raise ValueError(f"no data for {value.type}")
