"""Units respelt, each with the same codes as before, where QNN 2.7 places or computes one form of several only.

- A node is placed together with the DQ and Q around it, and none with an activation behind it: an activation becomes a
  node of its own, behind a Q and DQ of the unit's own parameters.
- `Clip` behind another node does nothing where one of its bounds alone is inside the range of the codes: it becomes
  `Max` or `Min`.
- `Gather` takes negative indices for large ones: they are counted from the front.
- `Transpose` between channels first and channels last is taken for one of ONNX Runtime's own and then refused: it
  becomes one of the two last axes, between reshapes.
- Every other `Transpose` has a reshape behind it that changes nothing: ONNX Runtime moves transpositions behind other
  nodes and makes one of two, which QNN then refuses, and none past a reshape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_backend_npu.lowering.numbers import qparams_for
from deepseek_core import Operand, Unit
from deepseek_core.lowering import scalar_of

__all__ = ["respell"]

_Q, _DQ = "QuantizeLinear", "DequantizeLinear"
_LAYOUTS = ([0, 2, 1], [0, 2, 3, 1], [0, 3, 1, 2])
_SWAPPED = [0, 1, 3, 2]


def respell(unit: Unit) -> None:
    """Change the unit's nodes in place."""
    if unit.activation is not None:
        unit.activation.replace_input_with(0, _recoded(unit, unit.activation, unit.activation.inputs[0], "inner"))
        if unit.activation.op_type == "Clip":
            _bound(unit, unit.activation)
    if unit.op in _SPELLINGS:
        _SPELLINGS[unit.op](unit)


def _recoded(unit: Unit, before: ir.Node, real: ir.Value | None, name: str) -> ir.Value:
    """`real` through a Q and DQ with the parameters of the unit's output, inserted before a node."""
    assert real is not None
    quantizer = next(node for node in unit.nodes if node.op_type == _Q)
    numbers, graph = quantizer.inputs[1:], before.graph
    assert graph is not None
    there = ir.node(_Q, [real, *numbers], quantizer.attributes, name=f"{unit.name}/{name}/q")
    back = ir.node(_DQ, [there.outputs[0], *numbers], name=f"{unit.name}/{name}/dq")
    for node, like in ((there, quantizer.outputs[0]), (back, real)):
        node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = f"{node.name}.y", like.type, real.shape
    graph.insert_before(before, [there, back])
    return back.outputs[0]


def _constant(node: ir.Node, name: str, array: NDArray[np.generic]) -> ir.Value:
    graph = node.graph
    assert graph is not None
    tensor = ir.tensor(array, name=f"{node.name}/{name}")
    value = ir.Value(
        name=tensor.name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype)
    )
    graph.register_initializer(value)
    return value


def _clip(unit: Unit) -> None:
    _bound(unit, unit.node)


def _bound(unit: Unit, node: ir.Node) -> None:
    """Give a Clip with one bound inside the range of its codes the op of that bound alone."""
    y, quantizer = unit.outputs[0], next(node for node in unit.nodes if node.op_type == _Q)
    scheme, (low, high) = qparams_for(y).scheme, _codes_of_bounds(node, y)
    if (low > scheme.qmin) == (high < scheme.qmax):
        return
    op, code = ("Max", low) if low > scheme.qmin else ("Min", high)
    graph, (source, result) = node.graph, (node.inputs[0], node.outputs[0])
    assert graph is not None
    codes = _constant(node, "bound", np.array(code, scheme.dtype.value))
    bound = ir.node(_DQ, [codes, *quantizer.inputs[1:]], name=f"{node.name}/bound/dq")
    single = ir.node(op, [source, bound.outputs[0]], name=f"{node.name}/{op}")
    for value, like in ((bound.outputs[0], codes), (single.outputs[0], result)):
        value.name, value.shape, value.type = f"{value.producer().name}.y", like.shape, result.type  # type: ignore[union-attr]
    graph.insert_before(node, [bound, single])
    result.replace_all_uses_with(single.outputs[0])
    graph.remove(node, safe=True)


def _codes_of_bounds(node: ir.Node, y: Operand) -> tuple[int, int]:
    """Lowest and highest code that a Clip leaves."""
    qparams = qparams_for(y)
    low, high = (scalar_of(node, position) for position in (1, 2))
    lowest, highest = int(qparams.scheme.qmin), int(qparams.scheme.qmax)
    return (
        lowest if low is None else int(qparams.quantize(np.array(low, np.float32))),
        highest if high is None else int(qparams.quantize(np.array(high, np.float32))),
    )


def _gather(unit: Unit) -> None:
    x, indices = unit.inputs[0], unit.node.inputs[1]
    assert x is not None
    assert x.shape is not None
    assert indices is not None
    assert indices.const_value is not None
    size = x.shape[unit.node.attributes.get_int("axis", 0)]
    given = indices.const_value.numpy()
    if size is not None and (given < 0).any():
        unit.node.replace_input_with(1, _constant(unit.node, "indices", np.where(given < 0, given + size, given)))


def _transpose(unit: Unit) -> None:
    node, (operand,) = unit.node, [operand for operand in unit.inputs if operand is not None]
    result = node.outputs[0]
    final = [int(size) for size in result.shape or ()]  # type: ignore[arg-type]
    order = list(node.attributes.get_ints("perm", ()))
    if order in _LAYOUTS:
        shape = [int(size or 0) for size in operand.shape or ()]
        first = shape[1] if order[1] == 2 else prod(shape[1:-1])
        flat = [shape[0], 1, first, prod(shape[1:]) // max(first, 1)]
        node.replace_input_with(0, _recoded(unit, node, _reshaped(node, node.inputs[0], flat, "flat"), "flat"))
        node.attributes["perm"] = ir.AttrInt64s("perm", _SWAPPED)
        result.shape = ir.Shape([flat[axis] for axis in _SWAPPED])
    (quantizer,) = {user.node for user in result.uses()}
    back = _recoded(unit, quantizer, result, "moved")
    quantizer.replace_input_with(0, _reshaped(quantizer, back, final, "final"))


def _reshaped(before: ir.Node, value: ir.Value | None, shape: Sequence[int], name: str) -> ir.Value:
    assert value is not None
    assert before.graph is not None
    wanted = _constant(before, f"{name}_shape", np.array(shape, np.int64))
    node = ir.node("Reshape", [value, wanted], name=f"{before.name}/{name}")
    node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = f"{node.name}.y", value.type, ir.Shape(shape)
    before.graph.insert_before(before, node)
    return node.outputs[0]


_SPELLINGS: dict[str, Callable[[Unit], None]] = {"Clip": _clip, "Gather": _gather, "Transpose": _transpose}
