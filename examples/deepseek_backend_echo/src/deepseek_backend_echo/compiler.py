"""From units of the IR to instructions of the Echo device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_echo.program import Instruction, Program
from deepseek_core import Operand, QParams, QuantizedModel, Role, Unit
from deepseek_core.errors import BackendError

__all__ = ["compile_program"]

LOWEST = -128


def compile_program(model: QuantizedModel) -> Program:
    """Lower a model, or one part of a placement, whose units all fit the capability table.

    Raises:
        BackendError: a unit is none of those the table promises.
    """
    builder = _Builder()
    for unit in model.units():
        if unit.op not in _LOWERINGS:
            raise BackendError(f"Echo has no instruction for '{unit.name}' ({unit.op})", fix="place it elsewhere")
        _LOWERINGS[unit.op](unit, builder)
    return Program(model.inputs, model.outputs, tuple(builder.instructions), builder.constants)


@dataclass(slots=True)
class _Builder:
    instructions: list[Instruction] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)

    def constant(self, name: str, array: NDArray[Any]) -> str:
        self.constants[name] = np.ascontiguousarray(array)
        return name

    def operand(self, operand: Operand) -> str:
        """Name of an operand's codes; codes that are known now become a constant."""
        name = operand.value.name or ""
        const = operand.value.const_value
        return name if const is None else self.constant(name, const.numpy())

    def emit(self, opcode: str, inputs: tuple[str, ...], output: str, **settings: float) -> None:
        self.instructions.append(Instruction(opcode, inputs, output, settings))


def _lower_matmul(unit: Unit, builder: _Builder) -> None:
    (x,), (weight,) = unit.operands(Role.DATA), unit.operands(Role.WEIGHT)
    y, name = unit.outputs[0], unit.name
    weights = _constant(weight)
    if unit.op == "Gemm" and unit.node.attributes.get_int("transB", False):
        weights = weights.T
    x_scale, x_zero = _numbers(x)
    y_scale, y_zero = _numbers(y)
    multiplier = (np.float32(x_scale) * _qparams(weight).scale / np.float32(y_scale)).astype(np.float32)
    biases = [_constant(bias).reshape(-1) for bias in unit.operands(Role.BIAS)] or [np.zeros(1, np.int32)]
    inputs = (
        builder.operand(x),
        builder.constant(f"{name}.weight", weights),
        builder.constant(f"{name}.bias", biases[0]),
        builder.constant(f"{name}.multiplier", multiplier.reshape(-1)),
    )
    builder.emit("matmul", inputs, y.value.name or "", x_zero=x_zero, zero=y_zero, low=_low(unit, y_zero))


def _lower_add(unit: Unit, builder: _Builder) -> None:
    a, b = unit.operands(Role.DATA)
    scales = {name: _numbers(o) for name, o in (("a_", a), ("b_", b), ("", unit.outputs[0]))}
    settings: dict[str, float] = {f"{name}scale": scale for name, (scale, _) in scales.items()}
    settings |= {f"{name}zero": zero for name, (_, zero) in scales.items()}
    settings["low"] = _low(unit, scales[""][1])
    builder.emit("add", (builder.operand(a), builder.operand(b)), unit.outputs[0].value.name or "", **settings)


def _lower_relu(unit: Unit, builder: _Builder) -> None:
    (x,) = unit.operands(Role.DATA)
    _rescale(unit, builder, builder.operand(x), low=_numbers(unit.outputs[0])[1])


def _lower_flatten(unit: Unit, builder: _Builder) -> None:
    (x,) = unit.operands(Role.DATA)
    flat = f"{unit.name}.flat"
    axis = unit.node.attributes.get_int("axis", 1)
    rank = len(x.shape or ())
    builder.emit("flatten", (builder.operand(x),), flat, axis=axis % rank if axis < 0 else axis)
    _rescale(unit, builder, flat, low=LOWEST)


def _rescale(unit: Unit, builder: _Builder, source: str, *, low: int) -> None:
    """Move codes to the output's scale: the identity where input and output share it, as a passthrough should."""
    (x_scale, x_zero), (scale, zero) = _numbers(unit.operands(Role.DATA)[0]), _numbers(unit.outputs[0])
    output = unit.outputs[0].value.name or ""
    builder.emit("rescale", (source,), output, x_scale=x_scale, x_zero=x_zero, scale=scale, zero=zero, low=low)


_LOWERINGS: dict[str, Callable[[Unit, _Builder], None]] = {
    "Gemm": _lower_matmul,
    "MatMul": _lower_matmul,
    "Add": _lower_add,
    "Relu": _lower_relu,
    "Flatten": _lower_flatten,
}


def _low(unit: Unit, zero: int) -> int:
    """Smallest code of the output: a fused ReLU cuts off below the code of 0."""
    return LOWEST if unit.activation is None else max(LOWEST, zero)


def _constant(operand: Operand) -> NDArray[Any]:
    value = operand.value.const_value
    if value is None:
        raise BackendError(f"'{operand.real.name}' is not constant", fix="place its unit elsewhere")
    return value.numpy()


def _qparams(operand: Operand) -> QParams:
    if operand.qparams is None:
        raise BackendError(f"'{operand.real.name}' is not quantized", fix="quantize the model for echo")
    return operand.qparams


def _numbers(operand: Operand) -> tuple[float, int]:
    """Scale and zero point of a per-tensor operand."""
    qparams = _qparams(operand)
    return float(qparams.scale), int(qparams.zero_point)
