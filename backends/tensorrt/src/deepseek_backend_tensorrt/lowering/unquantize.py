"""Units that run in float although the model has codes for them: weights become the real numbers they stand for."""

from __future__ import annotations

import math
from collections.abc import Collection

import onnx_ir as ir

from deepseek_backend_tensorrt.lowering.edit import constant, drop, is_dq, is_q
from deepseek_core import DType, QuantizedModel, Role, Unit

__all__ = ["unquantize", "without_kernels"]


def unquantize(model: QuantizedModel, names: Collection[str]) -> None:
    """Let the named units compute in float; Q → DQ pairs that only such units read are left out."""
    if not names:
        return
    chosen = [unit for unit in model.units() if unit.name in names]
    nodes = {node for unit in chosen for node in unit.nodes}
    for unit in chosen:
        _float_constants(model.graph, unit)
    for node in list(model.graph):
        if is_q(node) and all(reader in nodes and is_dq(reader) for reader in node.outputs[0].consumers()):
            _drop_pair(model.graph, node)


def without_kernels(model: QuantizedModel, *, typed: bool) -> list[str]:
    """Names of units that TensorRT has no kernel on codes for; builders before 10 (`typed` is False) have fewer."""
    return [
        unit.name
        for unit in model.units()
        if not _unpacks(unit, typed) or (not typed and unit.op == "Conv" and not _groups_by_fours(unit))
    ]


def _unpacks(unit: Unit, typed: bool) -> bool:
    """Two 4-bit codes share a byte, so their number must be even; builders before TensorRT 10 have none."""
    return all(
        operand.qparams is None
        or operand.qparams.scheme.dtype not in (DType.INT4, DType.UINT4)
        or (typed and math.prod(size or 0 for size in operand.shape or ()) % 2 == 0)
        for operand in unit.operands(Role.WEIGHT)
    )


def _groups_by_fours(unit: Unit) -> bool:
    """TensorRT 8.6 finds no implementation of groups whose channels are no multiples of 4, but for depthwise."""
    group = unit.node.attributes.get_int("group", 1)
    shapes = [operand.shape for operand in unit.operands(Role.WEIGHT)]
    if group == 1 or not shapes or not shapes[0]:
        return True
    outputs, inputs = (shapes[0][0] or 0) // group, shapes[0][1] or 0
    return outputs == inputs == 1 or (outputs % 4 == 0 and inputs % 4 == 0)


def _float_constants(graph: ir.Graph, unit: Unit) -> None:
    for operand in (*unit.operands(Role.WEIGHT), *unit.operands(Role.DATA)):
        dequantize = operand.real.producer()
        if operand.qparams is None or not operand.is_constant or not is_dq(dequantize):
            continue
        assert dequantize is not None
        codes = operand.value.const_value
        assert codes is not None
        real = operand.qparams.dequantize(codes.numpy())
        ir.convenience.replace_all_uses_with(operand.real, constant(graph, f"{operand.real.name}_real", real))
        drop(graph, dequantize)


def _drop_pair(graph: ir.Graph, quantize: ir.Node) -> None:
    codes, source = quantize.outputs[0], quantize.inputs[0]
    if codes.is_graph_output() or source is None or not codes.uses():
        return
    for dequantize in list(codes.consumers()):
        if dequantize.outputs[0].is_graph_output():
            return
    for dequantize in list(codes.consumers()):
        ir.convenience.replace_all_uses_with(dequantize.outputs[0], source)
        drop(graph, dequantize)
    drop(graph, quantize)
