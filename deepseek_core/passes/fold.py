"""Constant folding and the fusions every target wants: BatchNorm, Pad and affine steps into convolutions."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from deepseek_core.ir.canonical.names import unify_names
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.passes.base import Pass
from deepseek_core.passes.bodies import all_nodes, size_of

__all__ = ["FoldConstants", "FuseIntoWeights"]


class FoldConstants(Pass):
    """Evaluate what depends on constants only, and drop what nothing reads (onnxscript's optimizer).

    Constants inside bodies become initializers of the main graph, small equal ones a single one.
    """

    ensures = frozenset({"constants folded"})

    def run(self, model: QuantizedModel) -> bool:
        from onnxscript import optimizer

        before = size_of(model.graph)
        with _quiet("onnxscript", "onnx_ir"):
            optimizer.optimize_ir(model.model, onnx_shape_inference=True)
        unify_names(model.model)
        return size_of(model.graph) != before


class FuseIntoWeights(Pass):
    """BatchNorm, constant scale and shift, and Pad become part of the Conv, ConvTranspose or Gemm beside them."""

    requires = frozenset({"constants folded"})
    ensures = frozenset({"batch norm fused"})

    def run(self, model: QuantizedModel) -> bool:
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
        with _quiet("onnxscript", "onnx_ir"):
            changed = bool(rules.apply_to_model(model.model))
        unify_names(model.model)
        return changed

    def check(self, model: QuantizedModel) -> str | None:
        for node in all_nodes(model.graph):
            if node.op_type != "BatchNormalization" or node.inputs[0] is None:
                continue
            producer = node.inputs[0].producer()
            single = len(node.inputs[0].uses()) == 1 and not node.inputs[0].is_graph_output()
            constant = all(v is not None and v.const_value is not None for v in node.inputs[1:])
            inference = not node.attributes.get_int("training_mode", 0)
            if producer is None or producer.graph is not node.graph:
                continue
            if producer.op_type == "Conv" and single and constant and inference:
                weight = producer.inputs[1]
                if weight is not None and weight.const_value is not None:
                    return f"BatchNormalization '{node.name}' still stands behind Conv '{producer.name}'"
        return None


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
