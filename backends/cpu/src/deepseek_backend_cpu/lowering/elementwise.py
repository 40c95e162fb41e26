"""Sums, products, pools, table functions, Concat and Where: each output element from a few input codes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deepseek_backend_cpu.lowering.emitter import MICROSOFT, Emitter
from deepseek_backend_cpu.lowering.kernel import IntegerKernel, finish
from deepseek_backend_cpu.lowering.operands import real_constant
from deepseek_core import Role, Unit

__all__ = ["KERNELS"]


def _with_params(op: str, *attributes: str) -> Callable[[Unit, Emitter], None]:
    """Nodes of the form op(x, s_x, z_x, …, s_y, z_y) with some of the unit's attributes."""

    def emit(unit: Unit, emitter: Emitter) -> None:
        (output,) = unit.outputs
        inputs = [value for operand in unit.operands(Role.DATA) for value in emitter.codes(operand)]
        kept = {name: value for name, value in unit.node.attributes.items() if name in attributes}
        finish(emitter, *emitter.add(op, [*inputs, *emitter.params(output)], kept, domain=MICROSOFT))

    return emit


def _softmax(unit: Unit, emit: Emitter) -> None:
    (output,), graph = unit.outputs, unit.node.graph
    opset = 13 if graph is None else graph.opset_imports.get("", 13)
    axis = unit.node.attributes.get_int("axis", None)
    axis = axis if axis is not None else -1 if opset >= 13 else 1
    inputs = [*emit.codes(unit.operands(Role.DATA)[0]), *emit.params(output)]
    emit.result(output, *emit.add("QLinearSoftmax", inputs, {"axis": axis, "opset": opset}, domain=MICROSOFT))


def _concat(unit: Unit, emit: Emitter) -> None:
    (output,) = unit.outputs
    inputs = [value for operand in unit.operands(Role.DATA) for value in emit.codes(operand)]
    axis = {"axis": unit.node.attributes["axis"]}
    emit.result(output, *emit.add("QLinearConcat", [*emit.params(output), *inputs], axis, domain=MICROSOFT))


def _where(unit: Unit, emit: Emitter) -> None:
    (output,), condition = unit.outputs, unit.inputs[0]
    assert condition is not None
    inputs = [value for operand in unit.operands(Role.DATA) for value in emit.codes(operand)]
    inputs = [condition.value, *inputs, *emit.params(output)]
    emit.result(output, *emit.add("QLinearWhere", inputs, domain=MICROSOFT))


def _pool_problem(unit: Unit) -> str | None:
    attributes = unit.node.attributes
    dilated = any(dilation != 1 for dilation in attributes.get_ints("dilations", ()))
    if dilated or attributes.get_int("ceil_mode", 0) != 0:
        return "the integer pool has no dilations and no ceil_mode"
    return None


def _mean_problem(unit: Unit) -> str | None:
    (data,), axes = unit.operands(Role.DATA), unit.inputs[1] if len(unit.inputs) > 1 else None
    rank = 0 if data.shape is None else len(data.shape)
    if rank != 4 or axes is None or not axes.is_constant:
        return "it is no mean over the height and width of images"
    if {int(axis) % rank for axis in real_constant(axes).reshape(-1)} != {2, 3}:
        return "it is no mean over the height and width of images"
    return None


def _mean(unit: Unit, emit: Emitter) -> None:
    (output,) = unit.outputs
    inputs = [*emit.codes(unit.operands(Role.DATA)[0]), *emit.params(output)]
    (codes,) = emit.add("QLinearGlobalAveragePool", inputs, domain=MICROSOFT)
    if unit.node.attributes.get_int("keepdims", 1) == 0:
        (codes,) = emit.add("Squeeze", [codes, emit.constant(np.array([2, 3], np.int64))])
    emit.result(output, codes)


_POOL = ("auto_pad", "count_include_pad", "kernel_shape", "pads", "strides")

KERNELS = {
    "Add": IntegerKernel(_with_params("QLinearAdd")),
    "Mul": IntegerKernel(_with_params("QLinearMul")),
    "AveragePool": IntegerKernel(_with_params("QLinearAveragePool", *_POOL), _pool_problem),
    "GlobalAveragePool": IntegerKernel(_with_params("QLinearGlobalAveragePool")),
    "ReduceMean": IntegerKernel(_mean, _mean_problem),
    "Sigmoid": IntegerKernel(_with_params("QLinearSigmoid")),
    "LeakyRelu": IntegerKernel(_with_params("QLinearLeakyRelu", "alpha")),
    "Softmax": IntegerKernel(_softmax),
    "Concat": IntegerKernel(_concat),
    "Where": IntegerKernel(_where),
}
