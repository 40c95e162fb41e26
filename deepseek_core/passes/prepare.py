"""From an imported float graph to the one that is quantized: same function, fewer and simpler nodes."""

from __future__ import annotations

from deepseek_core.ir.canonical import canonicalize
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.passes.base import run_passes
from deepseek_core.passes.fold import FoldConstants, FuseIntoWeights
from deepseek_core.passes.gemm import FuseMatMulBias

__all__ = ["prepare"]


def prepare(model: QuantizedModel) -> None:
    """Fold constants, fuse BatchNorm and Pad, remove what does nothing; in place.

    Outputs change only by float rounding. A model that holds Q/DQ nodes must not be prepared: folding would
    turn its quantized weights back into float ones.

    Raises:
        ModelError: a pass did not keep its word.
    """
    run_passes(model, [FoldConstants(), FuseMatMulBias(), FuseIntoWeights(), FoldConstants()])
    canonicalize(model.model)
