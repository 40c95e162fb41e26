"""QOperators (ops that read and write codes themselves) become DQ → float op → Q.

Sources: ONNX `QLinearConv`, `QLinearMatMul`; ONNX Runtime `ContribOperators.md` for the com.microsoft ones.
The integers mean the same: see the reference backend for how a DQ → op → Q unit accumulates and requantizes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.ir.canonical.edit import Editor, remove
from deepseek_core.ir.query import at, constant, is_scalar, rank

__all__ = ["is_lowerable", "lower_qoperators"]

_MS = "com.microsoft"


@dataclass(frozen=True, slots=True)
class _Codes:
    """Codes with what they mean; the scale is the product of `scales` and `factor`."""

    codes: ir.Value
    scales: tuple[ir.Value, ...]
    zero: ir.Value | None
    axis: int | None = None
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class _Lowering:
    """What a QOperator means: a float op over dequantized inputs, quantized again (or not: no `output`)."""

    op: str
    inputs: tuple[_Codes | ir.Value | NDArray[Any] | None, ...]
    output: tuple[ir.Value, ir.Value | None] | None
    attributes: dict[str, object] = field(default_factory=dict)


def lower_qoperators(editor: Editor) -> None:
    """Replace every QOperator that DQ → op → Q can express; in place.

    Others (channels-last layouts, scales of more than one dimension) stay what they are: custom ops.
    """
    for node in list(editor.model.graph.all_nodes()):
        lowering = _lowering(node, editor.opset)
        if lowering is not None:
            _apply(editor, node, lowering)


def is_lowerable(node: ir.Node, opset: int) -> bool:
    """Whether a node is a QOperator that canonical form writes as DQ → op → Q."""
    return _lowering(node, opset) is not None


def _lowering(node: ir.Node, opset: int) -> _Lowering | None:
    rule = _RULES.get((node.domain, node.op_type))
    try:
        return rule(node, opset) if rule is not None else None
    except TypeError:  # an attribute of another type than the vendor documents: not the operator we know
        return None


def _apply(editor: Editor, node: ir.Node, lowering: _Lowering) -> None:
    name, (result,) = node.name or node.op_type, node.outputs
    reals = [_real(editor, node, given) for given in lowering.inputs]
    node.name = f"{name}/lowered"
    output = lowering.output
    real = editor.node(
        lowering.op,
        reals,
        before=node,
        name=f"{name}_{lowering.op}",
        output=f"{result.name}_real",
        dtype=ir.DataType.FLOAT if output is None else output[0].dtype,
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


def _real(editor: Editor, node: ir.Node, given: _Codes | ir.Value | NDArray[Any] | None) -> ir.Value | None:
    assert node.graph is not None
    if isinstance(given, np.ndarray):
        return editor.initializer(node.graph, f"{node.name}_axes", given)
    if isinstance(given, _Codes):
        scale = _scale(editor, node, given)
        return editor.dequantize(given.codes, scale, given.zero, before=node, axis=given.axis)
    return given


def _scale(editor: Editor, node: ir.Node, given: _Codes) -> ir.Value:
    """The one scale of some codes; a product is computed once where its factors are constants."""
    if len(given.scales) == 1 and given.factor == 1.0:
        return given.scales[0]
    assert node.graph is not None
    base = f"{given.codes.name}_scale"
    factors = [f for f in map(constant, given.scales) if f is not None]
    if len(factors) == len(given.scales):
        product = np.asarray(given.factor, np.float32)
        for factor in factors:
            product = product * factor.astype(np.float32).reshape(() if factor.size == 1 else -1)
        return editor.initializer(node.graph, base, np.asarray(product, np.float32))
    result = given.scales[0]
    for other in given.scales[1:]:
        wide = other if not is_scalar(other) else result
        result = editor.node(
            "Mul", [result, other], before=node, name=base, output=base, dtype=ir.DataType.FLOAT, shape=wide.shape
        )
    return result


def _triple(node: ir.Node, first: int) -> _Codes | None:
    """Codes, scale and zero point at consecutive positions, per tensor."""
    codes, scale, zero = (at(node, first + i) for i in range(3))
    if codes is None or scale is None or not is_scalar(scale):
        return None
    return _Codes(codes, (scale,), zero)


def _pair(node: ir.Node, first: int) -> tuple[ir.Value, ir.Value | None] | None:
    """Scale and zero point of the output, per tensor."""
    scale = at(node, first)
    return (scale, at(node, first + 1)) if scale is not None and is_scalar(scale) else None


def _kept(node: ir.Node, *names: str) -> dict[str, object]:
    return {name: node.attributes[name].value for name in names if name in node.attributes}


def _elementwise(op: str, operands: int, *attributes: str) -> Callable[[ir.Node, int], _Lowering | None]:
    """QLinear ops whose inputs are (codes, scale, zero point) × operands, then scale and zero point of the output."""

    def rule(node: ir.Node, opset: int) -> _Lowering | None:
        inputs = [_triple(node, 3 * i) for i in range(operands)]
        output = _pair(node, 3 * operands)
        if None in inputs or output is None or node.attributes.get_int("channels_last"):
            return None
        return _Lowering(op, tuple(inputs), output, _kept(node, *attributes))

    return rule


def _softmax(node: ir.Node, opset: int) -> _Lowering | None:
    size, axis = rank(node.inputs[0]), node.attributes.get_int("axis", -1)
    # Before opset 13 Softmax flattened everything from `axis` on into one dimension.
    if (node.attributes.get_int("opset") or 0) < 13 and (size is None or axis not in (-1, size - 1)):
        return None
    return _elementwise("Softmax", 1, "axis")(node, opset)


def _reduce_mean(node: ir.Node, opset: int) -> _Lowering | None:
    plain = _elementwise("ReduceMean", 1, "keepdims")(node, opset)
    axes = node.attributes.get_ints("axes", ())
    if plain is None or not axes:
        return plain
    if opset < 18:
        return _Lowering(plain.op, plain.inputs, plain.output, {**plain.attributes, "axes": axes})
    return _Lowering(plain.op, (*plain.inputs, np.array(axes, np.int64)), plain.output, plain.attributes)


def _concat(node: ir.Node, opset: int) -> _Lowering | None:
    output, inputs = _pair(node, 0), [_triple(node, i) for i in range(2, len(node.inputs), 3)]
    if output is None or None in inputs:
        return None
    return _Lowering("Concat", tuple(inputs), output, _kept(node, "axis"))


def _where(node: ir.Node, opset: int) -> _Lowering | None:
    yes, no, output = _triple(node, 1), _triple(node, 4), _pair(node, 7)
    if yes is None or no is None or output is None:
        return None
    return _Lowering("Where", (node.inputs[0], yes, no), output)


def _conv(node: ir.Node, opset: int) -> _Lowering | None:
    """`QLinearConv`: x, w (a scale per output channel or one), y, and an int32 bias with scale x · w."""
    x, w_codes, w_scale, output = _triple(node, 0), at(node, 3), at(node, 4), _pair(node, 6)
    if x is None or w_codes is None or w_scale is None or output is None:
        return None
    axis = None if is_scalar(w_scale) else 0
    bias = at(node, 8)
    return _Lowering(
        "Conv",
        (
            x,
            _Codes(w_codes, (w_scale,), at(node, 5), axis),
            *([] if bias is None else [_Codes(bias, (*x.scales, w_scale), None, axis)]),
        ),
        output,
        _kept(node, "auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"),
    )


def _matmul(node: ir.Node, opset: int) -> _Lowering | None:
    """`QLinearMatMul`: one scale, or one per row of a and one per column of b."""
    a, b, output = _matrix(node, 0, -2), _matrix(node, 3, -1), _pair(node, 6)
    return None if a is None or b is None or output is None else _Lowering("MatMul", (a, b), output)


def _matrix(node: ir.Node, first: int, axis: int) -> _Codes | None:
    codes, scale, zero = (at(node, first + i) for i in range(3))
    if codes is None or scale is None or rank(scale) is None:
        return None
    if is_scalar(scale):
        return _Codes(codes, (scale,), zero)
    size = rank(codes)
    if rank(scale) != 1 or size is None or size < -axis:
        return None
    return _Codes(codes, (scale,), zero, size + axis)


def _gemm(node: ir.Node, opset: int) -> _Lowering | None:
    """`com.microsoft::QGemm`: a, b (one scale or one per column), int32 c with scale alpha · a · b, and y."""
    a, b_scale, b_codes, c = _triple(node, 0), at(node, 4), at(node, 3), at(node, 6)
    alpha = node.attributes.get_float("alpha", 1.0)
    if a is None or b_codes is None or b_scale is None or alpha <= 0:
        return None
    wide = not is_scalar(b_scale)
    inputs = [a, _Codes(b_codes, (b_scale,), at(node, 5), _gemm_axis(node) if wide else None)]
    if c is not None:
        size = rank(c)
        known = alpha == 1.0 or all(constant(s) is not None for s in (*a.scales, b_scale))
        if not known or (wide and not size):
            return None
        inputs.append(_Codes(c, (*a.scales, b_scale), None, size - 1 if wide and size else None, alpha))
    output = _pair(node, 7)
    if output is None and at(node, 7) is not None:
        return None
    return _Lowering("Gemm", tuple(inputs), output, _kept(node, "alpha", "transA", "transB"))


def _gemm_axis(node: ir.Node) -> int:
    return 0 if node.attributes.get_int("transB", 0) else 1


_POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")
_RULES: dict[tuple[str, str], Callable[[ir.Node, int], _Lowering | None]] = {
    ("", "QLinearConv"): _conv,
    ("", "QLinearMatMul"): _matmul,
    (_MS, "QGemm"): _gemm,
    (_MS, "QLinearAdd"): _elementwise("Add", 2),
    (_MS, "QLinearMul"): _elementwise("Mul", 2),
    (_MS, "QLinearLeakyRelu"): _elementwise("LeakyRelu", 1, "alpha"),
    (_MS, "QLinearSigmoid"): _elementwise("Sigmoid", 1),
    (_MS, "QLinearSoftmax"): _softmax,
    (_MS, "QLinearAveragePool"): _elementwise("AveragePool", 1, *_POOL),
    (_MS, "QLinearGlobalAveragePool"): _elementwise("GlobalAveragePool", 1),
    (_MS, "QLinearReduceMean"): _reduce_mean,
    (_MS, "QLinearConcat"): _concat,
    (_MS, "QLinearWhere"): _where,
}
