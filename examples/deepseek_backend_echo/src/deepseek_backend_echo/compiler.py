"""From units of the IR to instructions of the Echo device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_echo import __version__
from deepseek_backend_echo.program import FORMAT, Instruction, Program
from deepseek_core import Artifact, CompileOptions, Operand, QParams, QuantizedModel, Role, Target, Unit
from deepseek_core.errors import BackendError
from deepseek_core.ir import expand, qparams_of

__all__ = ["compile_artifact"]

LOWEST = -128


def compile_artifact(model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
    """Compile a model, or one part of a placement, whose units all fit the capability table.

    Raises:
        BackendError: a unit is none of those the table promises, or an option asks for what Echo does not have.
    """
    if options.extra:
        raise BackendError(f"Echo has no option '{next(iter(options.extra))}'", fix="leave it out")
    if options.taps:
        raise BackendError("Echo does not give values from inside a program", fix="tap them on the CPU backend")
    program = _lower(model)
    report = {"instructions": len(program.instructions)}
    return Artifact(target, program.encode(), FORMAT, toolchain={"echo": __version__}, report=report)


def _lower(model: QuantizedModel) -> Program:
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
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    (x_scale, x_zero), (scale, zero) = _numbers(x), _numbers(y)
    settings = {"x_scale": x_scale, "x_zero": x_zero, "scale": scale, "zero": zero, "low": zero}
    builder.emit("rescale", (builder.operand(x),), y.value.name or "", **settings)


def _lower_reshape(unit: Unit, builder: _Builder) -> None:
    """Codes move as they are: the capability check asks for the same scale and zero point on both sides."""
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    shape = builder.constant(f"{unit.name}.shape", np.array(y.shape, np.int32))
    builder.emit("reshape", (builder.operand(x), shape), y.value.name or "")


def _lower_conversion(unit: Unit, builder: _Builder) -> None:
    """A Q or DQ on its own: where the model enters or leaves the device in float."""
    source, qparams, name = unit.inputs[0], qparams_of(unit.node), unit.name
    if source is None or qparams is None:
        raise BackendError(f"'{name}' has a scale that is not constant", fix="place it elsewhere")
    shape = tuple(size or 1 for size in source.shape or ())
    scale = builder.constant(f"{name}.scale", expand(qparams.scale, shape, qparams.scheme))
    zero = builder.constant(f"{name}.zero", expand(qparams.zero_point, shape, qparams.scheme).astype(np.int32))
    opcode = "quantize" if unit.op == "QuantizeLinear" else "dequantize"
    builder.emit(opcode, (builder.operand(source), scale, zero), unit.outputs[0].value.name or "")


_LOWERINGS: dict[str, Callable[[Unit, _Builder], None]] = {
    "Gemm": _lower_matmul,
    "MatMul": _lower_matmul,
    "Add": _lower_add,
    "Relu": _lower_relu,
    "Reshape": _lower_reshape,
    "Flatten": _lower_reshape,
    "QuantizeLinear": _lower_conversion,
    "DequantizeLinear": _lower_conversion,
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
