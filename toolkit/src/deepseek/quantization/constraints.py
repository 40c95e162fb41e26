"""What a configuration means: capability tables with fewer rules, and a graph with fewer fusions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import onnx_ir as ir

from deepseek.quantization.config import BIAS, FUSIONS, QuantizerConfig
from deepseek_core import Capabilities, DType, OpRule, QuantizedModel, QuantScheme, Role, Unit
from deepseek_core.target import TensorType

__all__ = ["ALIGNMENT", "allowed", "apart", "misaligned"]

ALIGNMENT = 4
"""Channels that an 8-bit matrix instruction takes at once: four codes to a 32-bit register (PTX ISA 8.5,
"Matrix Fragments for mma with .u8/.s8")."""


def allowed(table: Capabilities, config: QuantizerConfig) -> Capabilities:
    """The table with only the rules, and the fusions, that a configuration allows."""
    rules = table.rules
    if config.tensor_core is True:
        rules = tuple(rule for rule in map(_on_matrix_units, rules) if rule is not None)
    if config.tensor_core is False:
        rules = tuple(rule for rule in rules if not any(_is(part, DType.FLOAT8E4M3FN) for part in _parts(rule)))
    if config.kernel_fusion is not None:
        rules = tuple(replace(rule, fused=_fused(rule, config.kernel_fusion)) for rule in rules)
    return replace(table, rules=tuple(dict.fromkeys(rules)))


def misaligned(model: QuantizedModel, config: QuantizerConfig) -> dict[str, str]:
    """Unit name → why matrix units do not take it; such units stay in float.

    Depthwise convolutions are no matrix products: they run on vector units whatever their channels, in 8 bits.
    """
    if config.tensor_core is not True:
        return {}
    return {unit.name: reason for unit in model.units() if (reason := _misalignment(unit))}


def apart(model: QuantizedModel, config: QuantizerConfig) -> QuantizedModel:
    """The prepared model with the biases of matrix products in an Add of their own, unless they may be fused."""
    if config.kernel_fusion is None or BIAS in config.kernel_fusion:
        return model
    result = model.clone()
    for node in list(_biased(result.graph)):
        _split_bias(result.graph, node)
    return result


def _parts(rule: OpRule) -> tuple[TensorType | None, ...]:
    return rule.activation, rule.output, rule.weight


def _is(part: TensorType | None, *dtypes: DType) -> bool:
    return isinstance(part, QuantScheme) and part.dtype in dtypes


_MATRIX_TYPES = (DType.INT8, DType.INT4, DType.FLOAT8E4M3FN)


def _on_matrix_units(rule: OpRule) -> OpRule | None:
    """The rule with its zero points at zero, which an asymmetric rule takes too; None where its types are others."""
    parts = _parts(rule)
    if any(isinstance(part, QuantScheme) and not _is(part, *_MATRIX_TYPES) for part in parts):
        return None
    activation, output, weight = (replace(p, symmetric=True) if isinstance(p, QuantScheme) else p for p in parts)
    assert activation is not None
    assert output is not None
    return replace(rule, activation=activation, output=output, weight=weight)


def _fused(rule: OpRule, patterns: Sequence[str]) -> tuple[str, ...]:
    found = {function for pattern in patterns if rule.op in FUSIONS[pattern][0] for function in FUSIONS[pattern][1]}
    return tuple(op for op in rule.fused if op in found)


def _misalignment(unit: Unit) -> str | None:
    weights = unit.operands(Role.WEIGHT)
    shape = weights[0].shape if weights else None
    if shape is None or len(shape) < 2 or unit.op not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return None
    channels = shape[:2] if unit.op.startswith("Conv") else shape[-2:]
    if unit.op.startswith("Conv") and shape[1] == 1:
        return None
    odd = next((size for size in channels if size is None or size % ALIGNMENT), None)
    return None if odd is None else f"{odd} channels do not fill matrix units, which take multiples of {ALIGNMENT}"


def _biased(graph: ir.Graph) -> Iterator[ir.Node]:
    for node in graph:
        is_gemm = node.op_type == "Gemm" and node.domain == "" and len(node.inputs) > 2
        if is_gemm and node.inputs[2] is not None and node.attributes.get_float("beta", 1.0) == 1.0:
            yield node


def _split_bias(graph: ir.Graph, node: ir.Node) -> None:
    """Gemm(x, W, b) → Add(Gemm(x, W), b); the sum keeps the value's name."""
    bias, out = node.inputs[2], node.outputs[0]
    node.resize_inputs(2)
    add = ir.node("Add", [None, bias], name=f"{node.name}/bias")
    graph.insert_after(node, add)
    total = add.outputs[0]
    ir.convenience.replace_all_uses_with(out, total, replace_graph_outputs=True)
    add.replace_input_with(0, out)
    total.name, out.name = out.name, f"{out.name}_unbiased"
    total.shape, total.type = out.shape, out.type
