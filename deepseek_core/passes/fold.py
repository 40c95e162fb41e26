"""Constant folding and the fusions every target wants: BatchNorm, Pad and affine steps into convolutions."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import onnx_ir as ir

from deepseek_core.ir.canonical.edit import Editor
from deepseek_core.ir.canonical.names import unify_names
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.ops import op_key
from deepseek_core.passes.base import Pass
from deepseek_core.passes.bodies import all_nodes, size_of

__all__ = ["COMPUTED_OTHERWISE", "FoldConstants", "FuseIntoWeights"]

_FUSED = frozenset(("Conv", "ConvTranspose", "Gemm"))
COMPUTED_OTHERWISE = frozenset(("AveragePool", "GlobalMaxPool", "LRN", "MaxPool"))
"""Ops that onnx.reference does not compute as ONNX defines them; whoever folds by it leaves them."""


class FoldConstants(Pass):
    """Evaluate what depends on constants only, and drop what nothing reads (onnxscript's optimizer).

    Constants inside bodies become initializers of the main graph, small equal ones a single one.
    """

    ensures = frozenset({"constants folded"})

    def run(self, model: QuantizedModel) -> bool:
        from onnxscript import optimizer

        before = size_of(model.graph)
        with _quiet("onnxscript", "onnx_ir"):
            optimizer.optimize_ir(model.model, onnx_shape_inference=True, should_fold=_should_fold)
        _let_go(model)
        unify_names(model.model)
        return size_of(model.graph) != before


def _should_fold(node: ir.Node) -> bool | None:
    """None leaves it to the optimizer."""
    return False if op_key(node) in COMPUTED_OTHERWISE else None


class FuseIntoWeights(Pass):
    """BatchNorm, constant scale and shift, and Pad become part of the Conv, ConvTranspose or Gemm beside them."""

    requires = frozenset({"constants folded"})
    ensures = frozenset({"batch norm fused"})

    def run(self, model: QuantizedModel) -> bool:
        """The rules leave weights that other nodes read too alone, so a copy is made for each node to be fused."""
        from onnxscript.rewriter import RewriteRuleSet
        from onnxscript.rewriter.rules import common

        rules = RewriteRuleSet(
            [
                common.fuse_batchnorm_into_conv_rule,
                common.fuse_batchnorm_into_conv_transpose_rule,
                common.fuse_batchnorm_into_gemm_rule,
                common.conv_affine_fusion_rule,
                common.normalize_pad_format_conv_rule,
                common.fuse_pad_into_conv_rule,
                common.successive_relu_rule,
                common.successive_clip_rule,
                common.successive_relu_clip_rule,
                common.successive_clip_relu_rule,
                common.dropout_inference_rule,
                common.mul_by_1_rule,
                common.div_by_1_rule,
                common.add_0_rule,
                common.sub_0_rule,
            ]
        )
        _unshare_weights(model)
        with _quiet("onnxscript", "onnx_ir"):
            changed = bool(rules.apply_to_model(model.model))
        unify_names(model.model)
        return changed

    def check(self, model: QuantizedModel) -> str | None:
        for conv, norm in _norms(model):
            if conv.op_type == "Conv":
                return f"BatchNormalization '{norm.name}' still stands behind Conv '{conv.name}'"
        return None


def _let_go(model: QuantizedModel) -> None:
    """The optimizer drops branches whose nodes go on to count as readers of what they captured."""
    present = set(all_nodes(model.graph))
    for graph in (model.graph, *model.graph.subgraphs()):
        for value in (*graph.inputs, *graph.initializers.values(), *(v for node in graph for v in node.outputs)):
            for use in value.uses():
                if use.node not in present:
                    use.node.replace_input_with(use.idx, None)


def _norms(model: QuantizedModel) -> Iterator[tuple[ir.Node, ir.Node]]:
    """Each Conv, ConvTranspose or Gemm with constant weights and the BatchNormalization that alone reads it."""
    for node in all_nodes(model.graph):
        if node.op_type != "BatchNormalization" or node.inputs[0] is None:
            continue
        producer = node.inputs[0].producer()
        single = len(node.inputs[0].uses()) == 1 and not node.inputs[0].is_graph_output()
        inference = not node.attributes.get_int("training_mode", 0)
        if producer is None or producer.graph is not node.graph or not (single and inference):
            continue
        constants = (*producer.inputs[1:], *node.inputs[1:])
        if producer.op_type in _FUSED and all(v is None or v.const_value is not None for v in constants):
            yield producer, node


def _unshare_weights(model: QuantizedModel) -> None:
    editor = Editor(model.model)
    for node, _ in list(_norms(model)):
        for position, value in enumerate(node.inputs[1:], start=1):
            if value is not None and value.const_value is not None and len(value.uses()) > 1:
                copy = editor.initializer(model.graph, f"{value.name}_{node.name}", value.const_value.numpy())
                node.replace_input_with(position, copy)


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """The libraries log every missed shape; what matters is checked afterwards."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
