"""QOperators (ops that read and write codes themselves) become DQ → float op → Q.

Sources: ONNX `QLinearConv`, `QLinearMatMul`; ONNX Runtime `ContribOperators.md` for the com.microsoft ones.
The integers mean the same: see the reference backend for how a DQ → op → Q unit accumulates and requantizes.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deepseek_core.ir.canonical.edit import Editor
from deepseek_core.ir.canonical.lowering import Codes, Lowering, Rule, apply
from deepseek_core.ir.canonical.nbits import matmul_nbits
from deepseek_core.ir.query import at, constant, is_scalar, rank

__all__ = ["is_lowerable", "lower_qoperators"]

_MS = "com.microsoft"


def lower_qoperators(editor: Editor) -> None:
    """Replace every QOperator that DQ → op → Q can express; in place.

    Others (channels-last layouts, scales of more than one dimension) stay what they are: custom ops.
    """
    for node in list(editor.model.graph.all_nodes()):
        lowering = _lowering(node, editor.opset)
        if lowering is not None:
            apply(editor, node, lowering)


def is_lowerable(node: ir.Node, opset: int) -> bool:
    """Whether a node is a QOperator that canonical form writes as DQ → op → Q."""
    return _lowering(node, opset) is not None


def _lowering(node: ir.Node, opset: int) -> Lowering | None:
    rule = _RULES.get((node.domain, node.op_type))
    if rule is None or len(node.outputs) != 1:
        return None
    try:
        return rule(node, opset)
    except TypeError:  # an attribute of another type than the vendor documents: not the operator we know
        return None


def _triple(node: ir.Node, first: int) -> Codes | None:
    """Codes, scale and zero point at consecutive positions, per tensor."""
    codes, scale, zero = (at(node, first + i) for i in range(3))
    if codes is None or scale is None or not is_scalar(scale):
        return None
    return Codes(codes, (scale,), zero)


def _pair(node: ir.Node, first: int) -> tuple[ir.Value, ir.Value | None] | None:
    """Scale and zero point of the output, per tensor."""
    scale = at(node, first)
    return (scale, at(node, first + 1)) if scale is not None and is_scalar(scale) else None


def _kept(node: ir.Node, *names: str) -> dict[str, object]:
    return {name: node.attributes[name].value for name in names if name in node.attributes}


def _elementwise(op: str, operands: int, *attributes: str) -> Rule:
    """QLinear ops whose inputs are (codes, scale, zero point) × operands, then scale and zero point of the output."""

    def rule(node: ir.Node, opset: int) -> Lowering | None:
        inputs = [_triple(node, 3 * i) for i in range(operands)]
        output = _pair(node, 3 * operands)
        if None in inputs or output is None or node.attributes.get_int("channels_last"):
            return None
        return Lowering(op, tuple(inputs), output, _kept(node, *attributes))

    return rule


def _softmax(node: ir.Node, opset: int) -> Lowering | None:
    size, axis = rank(at(node, 0)), node.attributes.get_int("axis", -1)
    # Before opset 13 Softmax flattened everything from `axis` on into one dimension.
    if (node.attributes.get_int("opset") or 0) < 13 and (size is None or axis not in (-1, size - 1)):
        return None
    return _elementwise("Softmax", 1, "axis")(node, opset)


def _reduce_mean(node: ir.Node, opset: int) -> Lowering | None:
    plain = _elementwise("ReduceMean", 1, "keepdims")(node, opset)
    axes = node.attributes.get_ints("axes", ())
    if plain is None or not axes:
        return plain
    if opset < 18:
        return Lowering(plain.op, plain.inputs, plain.output, {**plain.attributes, "axes": axes})
    return Lowering(plain.op, (*plain.inputs, np.array(axes, np.int64)), plain.output, plain.attributes)


def _concat(node: ir.Node, opset: int) -> Lowering | None:
    output, inputs = _pair(node, 0), [_triple(node, i) for i in range(2, len(node.inputs), 3)]
    if output is None or None in inputs:
        return None
    return Lowering("Concat", tuple(inputs), output, _kept(node, "axis"))


def _where(node: ir.Node, opset: int) -> Lowering | None:
    yes, no, output = _triple(node, 1), _triple(node, 4), _pair(node, 7)
    if yes is None or no is None or output is None:
        return None
    return Lowering("Where", (at(node, 0), yes, no), output)


def _conv(node: ir.Node, opset: int) -> Lowering | None:
    """`QLinearConv`: x, w (a scale per output channel or one), y, and an int32 bias with scale x · w."""
    x, w_codes, w_scale, output = _triple(node, 0), at(node, 3), at(node, 4), _pair(node, 6)
    if x is None or w_codes is None or w_scale is None or output is None:
        return None
    axis = None if is_scalar(w_scale) else 0
    bias = at(node, 8)
    return Lowering(
        "Conv",
        (
            x,
            Codes(w_codes, (w_scale,), at(node, 5), axis),
            *([] if bias is None else [Codes(bias, (*x.scales, w_scale), None, axis)]),
        ),
        output,
        _kept(node, "auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"),
    )


def _matmul(node: ir.Node, opset: int) -> Lowering | None:
    """`QLinearMatMul`: one scale, or one per row of a and one per column of b."""
    a, b, output = _matrix(node, 0, -2), _matrix(node, 3, -1), _pair(node, 6)
    return None if a is None or b is None or output is None else Lowering("MatMul", (a, b), output)


def _matrix(node: ir.Node, first: int, axis: int) -> Codes | None:
    codes, scale, zero = (at(node, first + i) for i in range(3))
    if codes is None or scale is None or rank(scale) is None:
        return None
    if is_scalar(scale):
        return Codes(codes, (scale,), zero)
    size = rank(codes)
    if rank(scale) != 1 or size is None or size < -axis:
        return None
    return Codes(codes, (scale,), zero, size + axis)


def _gemm(node: ir.Node, opset: int) -> Lowering | None:
    """`com.microsoft::QGemm`: a, b (one scale or one per column), int32 c with scale alpha · a · b, and y."""
    a, b, b_scale = _triple(node, 0), at(node, 3), at(node, 4)
    a_scale, alpha = at(node, 1), node.attributes.get_float("alpha", 1.0)
    output = _pair(node, 7)
    if a is None or b is None or b_scale is None or alpha <= 0 or (output is None and at(node, 7) is not None):
        return None
    columns = not is_scalar(b_scale)
    inputs = [a, Codes(b, (b_scale,), at(node, 5), _gemm_axis(node) if columns else None)]
    if (c := at(node, 6)) is not None:
        size = rank(c)
        known = alpha == 1.0 or all(constant(s) is not None for s in (a_scale, b_scale))
        if not known or (columns and not size):
            return None
        inputs.append(Codes(c, (*a.scales, b_scale), None, size - 1 if columns and size else None, factor=alpha))
    return Lowering("Gemm", tuple(inputs), output, _kept(node, "alpha", "transA", "transB"))


def _gemm_axis(node: ir.Node) -> int:
    return 0 if node.attributes.get_int("transB", 0) else 1


_POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")
_RULES: dict[tuple[str, str], Rule] = {
    (_MS, "MatMulNBits"): matmul_nbits,
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
