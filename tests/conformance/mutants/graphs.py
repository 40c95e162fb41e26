"""Mutants that compile another graph than they were given: wrong attributes, constants and wiring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.ir.ops import channel_axis

from .base import edited

__all__: list[str] = []

Array = NDArray[Any]
Attribute = tuple[int, ...]


def nodes(model: ir.Model, *ops: str) -> Iterator[ir.Node]:
    return iter([node for node in model.graph.all_nodes() if node.op_type in ops])


def replaced(node: ir.Node, position: int, change: Callable[[Array], Array]) -> None:
    """Give a node a changed copy of one of its constants."""
    value = node.inputs[position]
    if value is None or value.const_value is None:
        return
    array = np.ascontiguousarray(change(value.const_value.numpy()))
    fresh = ir.Value(name=f"{value.name}_of_{node.name}", shape=ir.Shape(array.shape), type=value.type)
    fresh.const_value = ir.Tensor(array, name=fresh.name)
    fresh.type = ir.TensorType(fresh.const_value.dtype)
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    graph.register_initializer(fresh)
    node.replace_input_with(position, fresh)


def dq(node: ir.Node, position: int) -> ir.Node | None:
    """The DQ behind an input."""
    value = node.inputs[position] if position < len(node.inputs) else None
    producer = value.producer() if value is not None else None
    return producer if producer is not None and producer.op_type == "DequantizeLinear" else None


def q(node: ir.Node) -> ir.Node | None:
    """The Q behind the first output."""
    return next((use.node for use in node.outputs[0].uses() if use.node.op_type == "QuantizeLinear"), None)


def on_attribute(op: str, name: str, change: Callable[[Attribute], Attribute]) -> Callable[[ir.Model], None]:
    """Changes a list attribute of an op."""

    def edit(model: ir.Model) -> None:
        for node in nodes(model, op):
            if name in node.attributes:
                values = tuple(node.attributes.get_ints(name, ()))
                node.attributes[name] = ir.AttrInt64s(name, change(values))

    return edit


def on_weight(op: str, position: int, change: Callable[[ir.Node, Array], Array]) -> Callable[[ir.Model], None]:
    """Changes codes (0), scales (1) or zero points (2) of an op's weight."""

    def edit(model: ir.Model) -> None:
        for node in nodes(model, op):
            behind = dq(node, 1)
            if behind is not None:
                replaced(behind, position, lambda array, behind=behind: change(behind, array))  # type: ignore[misc]

    return edit


def without(op: str, keep: Callable[[ir.Node], bool] | None = None) -> Callable[[ir.Model], None]:
    """Removes an op that only stands between two values."""

    def edit(model: ir.Model) -> None:
        for node in nodes(model, op):
            source = node.inputs[0]
            if source is None or node.outputs[0].is_graph_output() or (keep is not None and keep(node)):
                continue
            for use in list(node.outputs[0].uses()):
                use.node.replace_input_with(use.idx, source)
            node.graph.remove(node, safe=True)  # type: ignore[union-attr]

    return edit


def _halves_swapped(pads: Attribute) -> Attribute:
    return (*pads[len(pads) // 2 :], *pads[: len(pads) // 2])


def _inverse(perm: Attribute) -> Attribute:
    return tuple(np.argsort(perm).tolist())


def _axes_swapped(pads: Attribute) -> Attribute:
    half = len(pads) // 2
    return (*reversed(pads[:half]), *reversed(pads[half:]))


edited("SwapsBeginAndEndPads", "numerics/Conv/*/asymmetric_pads", on_attribute("Conv", "pads", _halves_swapped))
edited("SwapsPadsOfAxes", "numerics/Conv/*pads", on_attribute("Conv", "pads", _axes_swapped))
edited("SwapsTransposePads", "numerics/ConvTranspose/*pads", on_attribute("ConvTranspose", "pads", _halves_swapped))
edited("SwapsStrides", "numerics/Conv/*/strides*", on_attribute("Conv", "strides", lambda s: s[::-1]))
edited("IgnoresDilations", "numerics/Conv/*/dilations", on_attribute("Conv", "dilations", lambda d: (1,) * len(d)))
edited("SwapsDilations", "numerics/Conv/*/dilations", on_attribute("Conv", "dilations", lambda d: d[::-1]))
edited("InvertsPermutation", "numerics/Transpose/*", on_attribute("Transpose", "perm", _inverse))


def _dense(model: ir.Model) -> None:
    """Every output sees every channel, group or not."""
    for node in nodes(model, "Conv"):
        group, weight = node.attributes.get_int("group", 1), dq(node, 1)
        if group > 1 and weight is not None:
            replaced(weight, 0, lambda w, group=group: np.concatenate([w] * group, axis=1))  # type: ignore[misc]
            weight.outputs[0].shape = None
            node.attributes["group"] = ir.AttrInt64("group", 1)


edited("IgnoresGroup", "numerics/Conv/*/group", _dense)


def _wrong_group_order(model: ir.Model) -> None:
    for node in nodes(model, "Conv"):
        weight = dq(node, 1)
        if node.attributes.get_int("group", 1) > 1 and weight is not None:
            replaced(weight, 0, lambda w: np.concatenate([w[0::2], w[1::2]]))


edited("WrongDepthwiseOrder", "numerics/Conv/*/depthwise_multiplier", _wrong_group_order)


def _zero_codes_as_padding(model: ir.Model) -> None:
    """Pads the codes with 0 before they are dequantized."""
    for node in nodes(model, "Conv"):
        data, pads = dq(node, 0), node.attributes.get_ints("pads", ())
        if data is None or not any(pads):
            continue
        half = len(pads) // 2
        full = np.array((0, 0, *pads[:half], 0, 0, *pads[half:]), np.int64)
        amount = ir.Value(name=f"{node.name}_amount", shape=ir.Shape(full.shape), type=ir.TensorType(ir.DataType.INT64))
        amount.const_value = ir.Tensor(full, name=amount.name)
        model.graph.register_initializer(amount)
        pad = ir.node("Pad", [data.inputs[0], amount], name=f"{node.name}_pad")
        node.graph.insert_before(data, pad)  # type: ignore[union-attr]
        data.replace_input_with(0, pad.outputs[0])
        node.attributes["pads"] = ir.AttrInt64s("pads", (0,) * len(pads))


edited("PadsWithCodeZero", "numerics/Conv/*/padding", _zero_codes_as_padding)


def _in_float(model: ir.Model) -> None:
    """An op between DQ and Conv: the runtime finds no integer kernel and quietly computes in float."""
    for node in nodes(model, "Conv"):
        weight = node.inputs[1]
        assert weight is not None
        between = ir.node("Identity", [weight], name=f"{node.name}_between")
        node.graph.insert_before(node, between)  # type: ignore[union-attr]
        node.replace_input_with(1, between.outputs[0])


edited("SilentFloatFallback", "numerics/Conv/*/integer_ties", _in_float)


def _upper_for_lower(model: ir.Model) -> None:
    for node in nodes(model, "Conv"):
        if node.attributes.get_string("auto_pad", "") == "SAME_LOWER":
            node.attributes["auto_pad"] = ir.AttrString("auto_pad", "SAME_UPPER")


edited("TakesSameLowerForUpper", "numerics/Conv/*/auto_pad_lower", _upper_for_lower)


def _first_scale(node: ir.Node, scale: Array) -> Array:
    return np.full_like(scale, scale.reshape(-1)[0]) if scale.size else scale


def _last_scale_for_first(node: ir.Node, scale: Array) -> Array:
    return np.roll(scale, 1, axis=0) if scale.ndim else scale


edited("FirstChannelsScaleForAll", "numerics/Conv/*int8pc*/mixed", on_weight("Conv", 1, _first_scale))
edited("ChannelScalesOffByOne", "numerics/Conv/*int8pc*/mixed", on_weight("Conv", 1, _last_scale_for_first))
edited("BlockScalesOffByOne", "numerics/MatMul/float32-int4b4*", on_weight("MatMul", 1, _last_scale_for_first))


def _last_block(node: ir.Node, scale: Array) -> Array:
    """The partial block at the end takes the scale of the block before it."""
    return np.concatenate([scale[:-1], scale[-2:-1]]) if scale.ndim == 2 and len(scale) > 1 else scale


edited("ForgetsPartialBlock", "numerics/MatMul/float32-int4b4*", on_weight("MatMul", 1, _last_block))


def _other_axis(model: ir.Model) -> None:
    for node in nodes(model, "Conv", "Gemm"):
        weight = dq(node, 1)
        codes = weight.inputs[0] if weight is not None else None
        if weight is None or codes is None or codes.shape is None or "axis" not in weight.attributes:
            continue
        axis = channel_axis(node)
        if codes.shape[0] == codes.shape[1]:
            weight.attributes["axis"] = ir.AttrInt64("axis", 1 - axis)


edited("WrongChannelAxis", "numerics/Gemm/*int8pc*", _other_axis)
edited("WrongChannelAxisOfConv", "numerics/Conv/*int8pc*/mixed", _other_axis)


def _nibbles_swapped(node: ir.Node, codes: Array) -> Array:
    flat = codes.reshape(-1).copy()
    even = len(flat) // 2 * 2
    flat[:even] = flat[:even].reshape(-1, 2)[:, ::-1].reshape(-1)
    return flat.reshape(codes.shape)


def _last_nibble_lost(node: ir.Node, codes: Array) -> Array:
    flat = codes.reshape(-1).copy()
    if len(flat) % 2:
        flat[-1] = 0
    return flat.reshape(codes.shape)


def _unsigned(node: ir.Node, codes: Array) -> Array:
    return codes.view(np.uint8) if codes.dtype == np.int8 else codes


edited("SwapsNibbles", "numerics/Gemm/float32-int4*/mixed", on_weight("Gemm", 0, _nibbles_swapped))
edited("LosesOddNibble", "numerics/Gemm/float32-int4*", on_weight("Gemm", 0, _last_nibble_lost))


def _sign_confusion(model: ir.Model) -> None:
    for position in (0, 2):
        on_weight("Gemm", position, _unsigned)(model)


edited("TakesSignedForUnsigned", "numerics/Gemm/uint8*/mixed", _sign_confusion)


def shift_zero(target: str, by: int) -> Callable[[ir.Model], None]:
    def edit(model: ir.Model) -> None:
        for node in nodes(model, "Conv", "Add", "Gemm"):
            convert = q(node) if target == "output" else dq(node, 0)
            if convert is not None and convert.inputs[2].const_value.numpy().dtype == np.uint8:  # type: ignore[union-attr]
                replaced(convert, 2, lambda zero: (zero.astype(np.int64) + by).astype(zero.dtype))

    return edit


edited("OutputZeroPointOffByOne", "numerics/Conv/uint8*/mixed", shift_zero("output", 1))
edited("InputZeroPointOffByOne", "numerics/Add/*", shift_zero("input", -1))


def _no_bias(model: ir.Model) -> None:
    for node in nodes(model, "Conv"):
        if len(node.inputs) > 2:
            node.replace_input_with(2, None)


def _bias_scale(model: ir.Model) -> None:
    for node in nodes(model, "Conv"):
        bias = dq(node, 2)
        if bias is not None:
            replaced(bias, 1, lambda scale: np.full_like(scale, scale.max(initial=0)))


edited("DropsBias", "numerics/Conv/uint8*/mixed", _no_bias)
edited("OneBiasScaleForAll", "numerics/Conv/*int8pc*/mixed", _bias_scale)
edited("IgnoresRelu", "numerics/Conv/*/fused_Relu", without("Relu"))
edited("IgnoresClip", "numerics/*/fused_Clip", without("Clip"))


def _zero_is_lowest(relu: ir.Node) -> bool:
    behind = q(relu)
    return behind is None or int(behind.inputs[2].const_value.numpy()) == 0  # type: ignore[union-attr]


edited("IgnoresReluOffTheEdge", "numerics/Gemm/*/fused_Relu", without("Relu", _zero_is_lowest))


def _clip_bound(position: int) -> Callable[[ir.Model], None]:
    """Moves a bound by the step of the output's codes."""

    def edit(model: ir.Model) -> None:
        for node in nodes(model, "Clip"):
            behind = q(node)
            if behind is None or len(node.inputs) <= position:
                continue
            step = behind.inputs[1].const_value.numpy().astype(np.float32)  # type: ignore[union-attr]
            replaced(node, position, lambda bound, step=step: (bound + step).astype(bound.dtype))  # type: ignore[misc]

    return edit


def _lower_only(model: ir.Model) -> None:
    for node in nodes(model, "Clip"):
        if len(node.inputs) == 2:
            replaced(node, 1, lambda bound: np.minimum(bound, 0).astype(bound.dtype) - 1)


edited("ClipUpperBoundOff", "numerics/*/fused_Clip", _clip_bound(2))
edited("ClipLowerBoundOff", "numerics/*/fused_Clip*", _clip_bound(1))
edited("OneSidedClipIgnored", "numerics/*/fused_Clip_lower", _lower_only)


def _to(value: int) -> Callable[[int], int]:
    return lambda old: value


def _integer_attribute(op: str, name: str, change: Callable[[int], int]) -> Callable[[ir.Model], None]:
    def edit(model: ir.Model) -> None:
        for node in nodes(model, op):
            if name in node.attributes:
                node.attributes[name] = ir.AttrInt64(name, change(node.attributes.get_int(name, 0)))

    return edit


def _square_only(change: Callable[[ir.Model], None]) -> Callable[[ir.Model], None]:
    """Only where the weight is square, so that nothing but the numbers can tell."""

    def edit(model: ir.Model) -> None:
        weights = [dq(node, 1) for node in nodes(model, "Gemm")]
        shapes = [w.inputs[0].shape for w in weights if w is not None and w.inputs[0] is not None]
        if all(shape is not None and shape[0] == shape[1] for shape in shapes):
            change(model)

    return edit


def _float_attribute(op: str, name: str, value: float) -> Callable[[ir.Model], None]:
    def edit(model: ir.Model) -> None:
        for node in nodes(model, op):
            node.attributes[name] = ir.AttrFloat32(name, value)

    return edit


edited("IgnoresTransB", "numerics/Gemm/*/trans_b", _square_only(_integer_attribute("Gemm", "transB", _to(0))))
edited("IgnoresAlpha", "numerics/Gemm/*/alpha", _float_attribute("Gemm", "alpha", 1.0))
edited("IgnoresBeta", "numerics/Gemm/*/beta", _float_attribute("Gemm", "beta", 1.0))
edited("FixedLeak", "numerics/LeakyRelu/*", _float_attribute("LeakyRelu", "alpha", 0.01))
edited("SoftmaxOverLastAxis", "numerics/Softmax/*/axis_1", _integer_attribute("Softmax", "axis", _to(-1)))
edited(
    "CountsPaddingInAverage",
    "numerics/AveragePool/*/padding",
    _integer_attribute("AveragePool", "count_include_pad", _to(1)),
)


def _reduce_axis(model: ir.Model) -> None:
    for node in nodes(model, "ReduceMean"):
        if len(node.inputs) > 1:
            replaced(node, 1, lambda axes: np.where(axes < 0, 1, axes))


edited("TakesNegativeAxesForOne", "numerics/ReduceMean/*/negative_axis", _reduce_axis)


def _reversed_inputs(op: str) -> Callable[[ir.Model], None]:
    def edit(model: ir.Model) -> None:
        for node in nodes(model, op):
            values = list(node.inputs)
            for position, value in enumerate(reversed(values)):
                node.replace_input_with(position, value)

    return edit


edited("ConcatenatesInReverse", "numerics/Concat/*", _reversed_inputs("Concat"))
edited("SubtractsInReverse", "numerics/Sub/*", _reversed_inputs("Sub"))


def _depth_mode(model: ir.Model) -> None:
    for node in nodes(model, "DepthToSpace"):
        node.attributes["mode"] = ir.AttrString("mode", "CRD")


edited("ColumnRowDepth", "numerics/DepthToSpace/*", _depth_mode)


def _forward_slices(model: ir.Model) -> None:
    for node in nodes(model, "Slice"):
        steps = node.inputs[4].const_value.numpy()  # type: ignore[union-attr]
        if (steps < 0).any():
            backwards = steps < 0
            replaced(node, 1, partial(np.where, backwards, 0))
            replaced(node, 2, partial(np.where, backwards, 2**31 - 1))
            replaced(node, 4, np.abs)


edited("SlicesForwards", "numerics/Slice/*", _forward_slices)


def _swapped_branches(model: ir.Model) -> None:
    for node in nodes(model, "If"):
        then, other = node.attributes["then_branch"], node.attributes["else_branch"]
        node.attributes["then_branch"] = ir.AttrGraph("then_branch", other.as_graph())
        node.attributes["else_branch"] = ir.AttrGraph("else_branch", then.as_graph())


def _backward_scan(model: ir.Model) -> None:
    for node in nodes(model, "Scan"):
        node.attributes["scan_input_directions"] = ir.AttrInt64s("scan_input_directions", (1,))
        node.attributes["scan_output_directions"] = ir.AttrInt64s("scan_output_directions", (0,))


def _one_trip(model: ir.Model) -> None:
    for node in nodes(model, "Loop"):
        once = ir.Value(name="once", shape=ir.Shape([]), type=ir.TensorType(ir.DataType.INT64))
        once.const_value = ir.Tensor(np.array(1, np.int64), name="once")
        model.graph.register_initializer(once)
        node.replace_input_with(0, once)


edited("LoopsOnce", "control_flow/Loop", _one_trip)
edited("SwapsBranches", "control_flow/If", _swapped_branches)
edited("ScansBackwards", "control_flow/Scan", _backward_scan)


def _first_piece_for_all(model: ir.Model) -> None:
    """Later pieces of a Split are read where the first one lies."""
    for node in nodes(model, "Split"):
        first, *others = node.outputs
        for use in [use for other in others if other.shape == first.shape for use in other.uses()]:
            use.node.replace_input_with(use.idx, first)


def _last_reader_too_late(model: ir.Model) -> None:
    """The last reader of a value finds what another reader wrote over it."""
    for node in list(model.graph):
        readers = [use for use in node.outputs[0].uses() if use.node.op_type != "QuantizeLinear"]
        if len(readers) > 1 and node.op_type != "DequantizeLinear":
            over = ir.node("Neg", [node.outputs[0]], name=f"over_{node.name}")
            model.graph.insert_after(node, over)
            over.outputs[0].type, over.outputs[0].shape = node.outputs[0].type, node.outputs[0].shape
            readers[-1].node.replace_input_with(readers[-1].idx, over.outputs[0])


edited("FirstPieceForAll", "compound/wiring/*", _first_piece_for_all)
edited("LastReaderTooLate", "compound/wiring/*", _last_reader_too_late)
