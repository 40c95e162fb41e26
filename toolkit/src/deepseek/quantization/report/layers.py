"""What became of each layer: types, noise, size."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from deepseek_core import DType, Feeds, Operand, QuantizedModel, Registry, Role, Unit
from deepseek_core.diff import compare
from deepseek_core.ir.units import is_q_or_dq
from deepseek_core.options import Progress

__all__ = ["Layer", "layers_of", "size_of"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One unit of the network.

    Attributes:
        name: of the unit, as recipes name it.
        op: op key.
        output: name of the value it makes.
        precision: `int8`, `w4a8`, `w4a16`, `fp8`, or the float type.
        weight: scheme of its weight in words; empty without one.
        activation: scheme of what it reads in words; empty in float.
        sqnr: of its output against the float network's, all noise up to here included, in dB; None where the output
            is no float tensor of both networks.
        weight_sqnr: of its weight by itself, in dB; None in float.
        parameters: elements of its constants.
        float_bytes: of its constants in the float network.
        bytes: of its constants now, scales and zero points included.
        reason: why it stayed in float; empty where it is quantized.
    """

    name: str
    op: str
    output: str
    precision: str
    weight: str
    activation: str
    sqnr: float | None
    weight_sqnr: float | None
    parameters: int
    float_bytes: int
    bytes: int
    reason: str = ""

    @property
    def is_quantized(self) -> bool:
        return bool(self.weight or self.activation)


def layers_of(
    origin: QuantizedModel,
    model: QuantizedModel,
    quantized: QuantizedModel,
    samples: Collection[Feeds],
    skipped: Mapping[str, str],
    *,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> tuple[Layer, ...]:
    """Layers in the order of the model, bodies of control flow included.

    Args:
        origin: the float model.
        model: the float model as steps left it: some values scaled, biases corrected.
        quantized: the result.
        samples: to measure noise on.
        skipped: name of a unit, or of its node → why it stayed in float.
    """
    noise: dict[str, float] = {}
    # A scaled value is itself in the edited model only; one behind a corrected bias is nearer to the origin.
    for reference in {id(origin): origin, id(model): model}.values():
        for tensor in compare(reference, quantized, samples, registry=registry, progress=progress).tensors:
            noise[tensor.name] = max(noise.get(tensor.name, -math.inf), tensor.sqnr)
    now = {unit.name: unit for unit in quantized.all_units()}
    return tuple(
        _layer(unit, now[unit.name], noise, skipped)
        for unit in model.all_units()
        if unit.name in now and not is_q_or_dq(unit.node)
    )


def size_of(model: QuantizedModel) -> int:
    """Bytes of all constants, as stored."""
    tensors = (v.const_value for graph in model.model.graphs() for v in graph.initializers.values())
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def _layer(before: Unit, after: Unit, noise: Mapping[str, float], skipped: Mapping[str, str]) -> Layer:
    reason = skipped.get(before.name, skipped.get(before.node.name or "", ""))
    weights = after.operands(Role.WEIGHT)
    weight = weights[0] if weights else None
    # A unit in float may still have its output quantized, for readers that want codes.
    data = [] if reason else [o for o in (*after.operands(Role.DATA), *after.outputs) if o.qparams is not None]
    scheme = str(weight.qparams.scheme) if weight is not None and weight.qparams is not None else ""
    reads = str(data[0].qparams.scheme) if data and data[0].qparams is not None else ""
    return Layer(
        before.name,
        before.op,
        before.outputs[0].real.name or "",
        _precision(before, weight, data),
        scheme,
        reads,
        next((noise[o.real.name or ""] for o in before.outputs if (o.real.name or "") in noise), None),
        _weight_sqnr(before, weight),
        sum(int(np.prod(tensor.shape.numpy())) for tensor in _constants(before)),
        sum(tensor.nbytes for tensor in _constants(before)),
        sum(tensor.nbytes for tensor in _constants(after)),
        reason,
    )


def _precision(unit: Unit, weight: Operand | None, data: list[Operand]) -> str:
    kinds = {o.qparams.scheme.dtype for o in data if o.qparams is not None}
    if weight is not None and weight.qparams is not None:
        kind = weight.qparams.scheme.dtype
        read = max((dtype.bits for dtype in kinds), default=16)
        if kind is DType.FLOAT8E4M3FN:
            return "fp8"
        return "int8" if kind.bits == read == 8 else f"w{kind.bits}a{read}"
    if kinds:
        kind = next(iter(kinds))
        return "fp8" if kind is DType.FLOAT8E4M3FN else f"int{kind.bits}"
    return next((str(o.dtype) for o in unit.outputs if o.dtype is not None), "other")


def _constants(unit: Unit) -> Iterator[ir.TensorProtocol]:
    """Constants that belong to a unit: each initializer its nodes read, once."""
    values = dict.fromkeys(v for node in unit.nodes for v in node.inputs if v is not None)
    for value in values:
        if value.const_value is not None:
            yield value.const_value


def _weight_sqnr(before: Unit, weight: Operand | None) -> float | None:
    original = before.operands(Role.WEIGHT)
    if weight is None or weight.qparams is None or weight.value.const_value is None or not original:
        return None
    constant = original[0].value.const_value
    if constant is None:
        return None
    wanted = constant.numpy().astype(np.float64)
    got = weight.qparams.dequantize(weight.value.const_value.numpy()).astype(np.float64)
    signal, error = float(np.square(wanted).sum()), float(np.square(wanted - got).sum())
    if error == 0:
        return math.inf
    return 10 * math.log10(signal / error) if signal else -math.inf
