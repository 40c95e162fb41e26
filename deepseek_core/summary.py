"""What is in a model, counted: units by op, tensors by type, bytes of constants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from deepseek_core.ir.model import QuantizedModel, TensorInfo
from deepseek_core.ir.ops import Role
from deepseek_core.ir.units import DQ, Q, is_q_or_dq, subgraphs
from deepseek_core.partition.types import describe

__all__ = ["OpCount", "Summary", "summarize"]


@dataclass(frozen=True, slots=True)
class OpCount:
    """Units of one op, and how many of them touch a quantized tensor."""

    total: int
    quantized: int


@dataclass(frozen=True, slots=True)
class Summary:
    """A model in figures. Units inside control-flow bodies count.

    Attributes:
        opset: version of the default domain.
        ops: by op key, most frequent first.
        activations: scheme or dtype → number of tensors between units.
        weights: scheme or dtype → number of constant weights.
        constants: number of elements of all constants.
        constant_bytes: their size as stored.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    opset: int
    ops: Mapping[str, OpCount]
    activations: Mapping[str, int]
    weights: Mapping[str, int]
    constants: int
    constant_bytes: int

    @property
    def units(self) -> int:
        return sum(count.total for count in self.ops.values())

    @property
    def conversions(self) -> int:
        """Units that are nothing but a Q or DQ on its own."""
        return sum(self.ops[op].total for op in (Q, DQ) if op in self.ops)

    @property
    def quantized_units(self) -> int:
        """Units that read or write codes and compute; a lone Q or DQ only converts."""
        return sum(count.quantized for count in self.ops.values())


def summarize(model: QuantizedModel) -> Summary:
    """Count what is in a model."""
    totals: Counter[str] = Counter()
    quantized: Counter[str] = Counter()
    activations: dict[ir.Value, str] = {}
    weights: dict[ir.Value, str] = {}
    for unit in model.all_units():
        totals[unit.op] += 1
        if is_q_or_dq(unit.node):
            continue
        quantized[unit.op] += unit.is_quantized
        weights |= {o.value: describe(o) for o in unit.operands(Role.WEIGHT)}
        border = (*unit.operands(Role.DATA), *unit.outputs)
        activations |= {o.value: describe(o) for o in border if not o.is_constant}
    tensors = [
        v.const_value for g in _graphs(model.graph) for v in g.initializers.values() if v.const_value is not None
    ]
    return Summary(
        model.inputs,
        model.outputs,
        model.opset,
        {op: OpCount(total, quantized[op]) for op, total in totals.most_common()},
        dict(Counter(activations.values()).most_common()),
        dict(Counter(weights.values()).most_common()),
        sum(tensor.size for tensor in tensors),
        sum(tensor.nbytes for tensor in tensors),
    )


def _graphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    """A graph and every body below it."""
    yield graph
    for node in graph:
        for body in subgraphs(node):
            yield from _graphs(body)
