"""Conv, Gemm and MatMul: u8 × s8 products summed in int32."""

from __future__ import annotations

import numpy as np

from deepseek_backend_cpu.lowering.emitter import MICROSOFT, Emitter
from deepseek_backend_cpu.lowering.kernel import IntegerKernel, accumulator_scale, finish
from deepseek_backend_cpu.lowering.operands import bias_problem, real_constant, weight_problem
from deepseek_core import Granularity, Operand, Role, Unit

__all__ = ["KERNELS"]


def _weight(unit: Unit) -> Operand | None:
    found = unit.operands(Role.WEIGHT)
    return found[0] if found else None


def _conv_problem(unit: Unit) -> str | None:
    weight = _weight(unit)
    if weight is None:
        return "its weight is computed at run time"
    return weight_problem(weight, 0) or bias_problem(unit, accumulator_scale(unit))


def _conv(unit: Unit, emit: Emitter) -> None:
    data, weight, output = unit.operands(Role.DATA)[0], _weight(unit), unit.outputs[0]
    assert weight is not None
    inputs = [*emit.codes(data), *emit.weight(weight), *emit.params(output)]
    bias = emit.bias(np.broadcast_to(accumulator_scale(unit), _channels(weight, 0)))
    finish(emit, *emit.add("QLinearConv", [*inputs, bias], unit.node.attributes))


def _gemm_problem(unit: Unit) -> str | None:
    weight, attributes = _weight(unit), unit.node.attributes
    if weight is None:
        return "its weight is computed at run time"
    if attributes.get_float("alpha", 1.0) != 1.0 or attributes.get_float("beta", 1.0) != 1.0:
        return "alpha or beta is not 1"
    axis = _gemm_axis(unit)
    bias = unit.inputs[2] if len(unit.inputs) > 2 else None
    if bias is not None and bias.is_constant and np.ndim(real_constant(bias)) > 1 and real_constant(bias).shape[0] > 1:
        return "its bias differs from row to row"
    return weight_problem(weight, axis) or bias_problem(unit, accumulator_scale(unit)) or _float_problem(unit)


def _gemm(unit: Unit, emit: Emitter) -> None:
    data, weight, output = unit.operands(Role.DATA)[0], _weight(unit), unit.outputs[0]
    assert weight is not None
    columns = _channels(weight, _gemm_axis(unit))
    bias = emit.bias(np.broadcast_to(accumulator_scale(unit), columns))
    attributes = {name: value for name, value in unit.node.attributes.items() if name in ("transA", "transB")}
    inputs = [*emit.codes(data), *emit.weight(weight), bias]
    if output.qparams is not None:
        finish(emit, *emit.add("QGemm", [*inputs, *emit.params(output)], attributes, domain=MICROSOFT))
    else:
        emit.result(output, *emit.add("QGemm", inputs, attributes, domain=MICROSOFT))


def _gemm_axis(unit: Unit) -> int:
    return 0 if unit.node.attributes.get_int("transB", 0) else 1


def _matmul_problem(unit: Unit) -> str | None:
    weight = _weight(unit)
    if weight is None:
        return _float_problem(unit)
    scheme, rank = weight.qparams.scheme if weight.qparams is not None else None, len(weight.shape or ())
    if scheme is not None and scheme.granularity is Granularity.PER_CHANNEL and rank != 2:
        return "its weight has a scale for each channel and is no matrix"
    return weight_problem(weight, rank - 1) or _float_problem(unit)


def _matmul(unit: Unit, emit: Emitter) -> None:
    weight, output = _weight(unit), unit.outputs[0]
    first = unit.operands(Role.DATA)[0]
    second = emit.weight(weight) if weight is not None else emit.codes(unit.operands(Role.DATA)[1])
    if output.qparams is not None:
        inputs = [*emit.codes(first), *second, *emit.params(output)]
        finish(emit, *emit.add("QLinearMatMul", inputs))
        return
    left, right = emit.codes(first), second
    inputs = [left[0], right[0], left[1], right[1], left[2], right[2]]
    emit.result(output, *emit.add("MatMulIntegerToFloat", inputs, domain=MICROSOFT))


def _float_problem(unit: Unit) -> str | None:
    if unit.outputs[0].qparams is None and unit.activation is not None:
        return f"its float output goes through {unit.activation.op_type}"
    return None


def _channels(weight: Operand, axis: int) -> tuple[int]:
    assert weight.value.const_value is not None
    return (int(weight.value.const_value.numpy().shape[axis]),)


KERNELS = {
    "Conv": IntegerKernel(_conv, _conv_problem),
    "Gemm": IntegerKernel(_gemm, _gemm_problem, float_output=True),
    "MatMul": IntegerKernel(_matmul, _matmul_problem, float_output=True),
}
