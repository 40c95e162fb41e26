"""How a QOperator is written as DQ → float op → Q, once a rule has said what it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.ir.canonical.edit import Editor, remove
from deepseek_core.ir.query import constant, is_scalar

__all__ = ["Codes", "Lowering", "Rule", "apply"]

Given = ir.Value | NDArray[Any]
"""A value of the graph, or a constant that is to become one."""


@dataclass(frozen=True, slots=True)
class Codes:
    """Codes with what they mean; the scale is the product of `scales` and `factor`."""

    codes: Given
    scales: tuple[Given, ...]
    zero: Given | None
    axis: int | None = None
    block: int | None = None
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Lowering:
    """What a QOperator means: a float op over dequantized inputs, quantized again (or not: no `output`).

    Attributes:
        output: scale and zero point.
    """

    op: str
    inputs: tuple[Codes | Given | None, ...]
    output: tuple[ir.Value, ir.Value | None] | None
    attributes: dict[str, object] = field(default_factory=dict)


Rule = Callable[[ir.Node, int], Lowering | None]
"""`rule(node, opset)`: what a node means; None when DQ → op → Q cannot say it."""


def apply(editor: Editor, node: ir.Node, lowering: Lowering) -> None:
    """Put the lowering in the place of `node`, which has one output; the float op keeps its name."""
    name, (result,) = node.name or node.op_type, node.outputs
    step = _Step(editor, node)
    reals = [step.real(given) for given in lowering.inputs]
    node.name = f"{name}/lowered"
    output = lowering.output
    real = editor.node(
        lowering.op,
        reals,
        before=node,
        name=f"{name}_{lowering.op}",
        output=f"{result.name}_real",
        dtype=result.dtype if output is None else output[0].dtype,
        shape=result.shape,
        attributes=lowering.attributes,
    )
    producer = real.producer()
    assert producer is not None
    producer.name = name
    if output is None:
        result.replace_all_uses_with(real, replace_graph_outputs=True)
        result.name, real.name = f"{result.name}/lowered", result.name
    else:
        editor.quantize(real, output[0], output[1], result)
    remove(node)


class _Step:
    """Makes the inputs of the float op in front of the QOperator."""

    def __init__(self, editor: Editor, node: ir.Node) -> None:
        assert node.graph is not None
        self._editor, self._node, self._graph = editor, node, node.graph

    def real(self, given: Codes | Given | None) -> ir.Value | None:
        if not isinstance(given, Codes):
            return None if given is None else self._value(given, "axes")
        codes = self._value(given.codes, "codes")
        zero = None if given.zero is None else self._value(given.zero, "zero")
        scale = self._scale(given, f"{codes.name}_scale")
        return self._editor.dequantize(codes, scale, zero, before=self._node, axis=given.axis, block=given.block)

    def _value(self, given: Given, suffix: str) -> ir.Value:
        if isinstance(given, ir.Value):
            return given
        return self._editor.initializer(self._graph, f"{self._node.name}_{suffix}", given)

    def _scale(self, given: Codes, name: str) -> ir.Value:
        """The one scale of some codes; a product is computed once where its factors are constants."""
        scales = [self._value(scale, "scale") for scale in given.scales]
        if len(scales) == 1 and given.factor == 1.0:
            return scales[0]
        factors = [f for f in map(constant, scales) if f is not None]
        if len(factors) < len(scales):
            return self._product(scales, name)
        product = np.asarray(given.factor, np.float32)
        for factor in factors:
            product = product * factor.astype(np.float32).reshape(() if factor.size == 1 else -1)
        return self._editor.initializer(self._graph, name, np.asarray(product, np.float32))

    def _product(self, scales: list[ir.Value], name: str) -> ir.Value:
        result = scales[0]
        for other in scales[1:]:
            result = self._editor.node(
                "Mul",
                [result, other],
                before=self._node,
                name=name,
                output=name,
                dtype=ir.DataType.FLOAT,
                shape=result.shape if is_scalar(other) else other.shape,
            )
        return result
