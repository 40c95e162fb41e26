"""Shared, doubled and repeated Q/DQ nodes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deepseek_core.ir.canonical.edit import Editor, remove, replace
from deepseek_core.ir.qdq import DQ, Q, qparams_of
from deepseek_core.ir.qparams import QParams
from deepseek_core.ir.query import is_node
from deepseek_core.scheme import DType

__all__ = ["collapse_pairs", "is_lossless", "merge_quantizers", "unshare_dequantizers"]


def merge_quantizers(model: ir.Model) -> None:
    """Let equal Q nodes that read one value in one graph be one node; in place."""
    for graph in model.graphs():
        found: dict[ir.Value, list[tuple[ir.Node, QParams]]] = {}
        for node in list(graph):
            params = qparams_of(node) if is_node(node, Q) else None
            source = node.inputs[0] if node.inputs else None
            if params is None or source is None:
                continue
            equal = next((n for n, p in found.get(source, ()) if p.equals(params) and _same_attributes(n, node)), None)
            if equal is None:
                found.setdefault(source, []).append((node, params))
            elif not node.outputs[0].is_graph_output():
                node.outputs[0].replace_all_uses_with(equal.outputs[0])
                remove(node)


def collapse_pairs(model: ir.Model) -> None:
    """Drop each Q that only undoes a DQ with equal parameters: codes → DQ → Q gives the codes again; in place."""
    for node in list(model.graph.all_nodes()):
        source = node.inputs[0] if is_node(node, Q) else None
        producer = source.producer() if source is not None else None
        if source is None or producer is None or not is_node(producer, DQ):
            continue
        mine, theirs = qparams_of(node), qparams_of(producer)
        if mine is None or theirs is None or not (mine.equals(theirs) and is_lossless(theirs, source.dtype)):
            continue
        _bypass(node, producer.inputs[0])


def is_lossless(params: QParams, real: ir.DataType | None) -> bool:
    """Whether quantize(dequantize(q)) is q for every code when the real tensor has type `real`.

    With u the unit roundoff of the real type, product and quotient move (q − z) by at most 2·u·|q − z|, which
    has to stay under 1/2. The largest real value must be finite, and a float8 code must not become subnormal.
    """
    low, high = params.scheme.dtype.range
    zero = params.zero_point.astype(np.float64)
    reach = max(np.max(np.abs(low - zero), initial=0), np.max(np.abs(high - zero), initial=0))
    largest = reach * np.max(params.scale, initial=0)
    match real:
        case ir.DataType.FLOAT:
            smallest = np.min(params.scale, initial=np.inf)
            normal = params.scheme.dtype is not DType.FLOAT8E4M3FN or smallest >= 2.0**-100
            return bool(largest < np.finfo(np.float32).max and normal)
        case ir.DataType.FLOAT16:
            return bool(params.scheme.dtype.is_integer and reach < 2.0**8 and largest < np.finfo(np.float16).max)
        case _:
            return False


def unshare_dequantizers(editor: Editor) -> None:
    """Give each reader of a DQ its own copy, in the reader's graph; a graph output keeps the original; in place."""
    for node in list(editor.model.graph.all_nodes()):
        if not is_node(node, DQ):
            continue
        (real,) = node.outputs
        kept = real.is_graph_output()
        for use in real.uses():
            if not kept and use.node.graph is node.graph:
                kept = True
            else:
                use.node.replace_input_with(use.idx, editor.copy(node, before=use.node))
        if not kept:
            remove(node)


def _bypass(node: ir.Node, codes: ir.Value | None) -> None:
    (old,) = node.outputs
    if codes is None:
        return
    if not old.is_graph_output():
        old.replace_all_uses_with(codes)
    elif codes.producer() is not None and codes.graph is node.graph and not codes.is_graph_output():
        replace(old, codes)
    else:
        return
    remove(node)


def _same_attributes(one: ir.Node, other: ir.Node) -> bool:
    return {a.name: a.value for a in one.attributes.values()} == {a.name: a.value for a in other.attributes.values()}
