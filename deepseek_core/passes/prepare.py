"""From an imported float graph to the one that is quantized: same function, fewer and simpler nodes."""

from __future__ import annotations

from deepseek_core.ir.canonical import canonicalize
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.passes.base import Pass, run_passes
from deepseek_core.passes.bodies import control_nodes
from deepseek_core.passes.branches import MergeBranches
from deepseek_core.passes.conditions import FoldConditions
from deepseek_core.passes.fill import FillWeights
from deepseek_core.passes.fold import FoldConstants, FuseIntoWeights
from deepseek_core.passes.gemm import FuseMatMulBias
from deepseek_core.passes.hoist import HoistInvariants
from deepseek_core.passes.sums import SumsToAdds
from deepseek_core.passes.unroll import UnrollLimits, UnrollLoops

__all__ = ["prepare"]

_CONTROL = ("If", "Loop", "Scan")
_ROUNDS = 4
"""Times that control flow is simplified at most: what one round folds may decide a condition for the next."""


def prepare(model: QuantizedModel, unroll: UnrollLimits | None = None) -> None:
    """Fold constants and conditions, simplify loops, fuse BatchNorm and Pad, remove what does nothing; in place.

    Outputs change only by float rounding. A model that holds Q/DQ nodes must not be prepared: folding would
    turn its quantized weights back into float ones.

    Args:
        unroll: how long a loop may be to be written out; default `UnrollLimits()`.

    Raises:
        ModelError: a pass did not keep its word.
    """
    facts = run_passes(model, [FoldConditions(), *_weights()])
    for _ in range(_ROUNDS):
        before = control_nodes(model.model, *_CONTROL)
        if not before:
            break
        facts = run_passes(model, [*_control_flow(unroll), FoldConstants()], facts)
        if control_nodes(model.model, *_CONTROL) == before:
            break
        facts = run_passes(model, _weights(), facts)
    canonicalize(model.model)


def _weights() -> list[Pass]:
    """Before loops are unrolled, so that their trips share the fused weights, and again with what that brought."""
    return [FoldConstants(), FillWeights(), SumsToAdds(), FuseMatMulBias(), FuseIntoWeights(), FoldConstants()]


def _control_flow(unroll: UnrollLimits | None) -> list[Pass]:
    return [FoldConditions(), MergeBranches(), HoistInvariants(), UnrollLoops(unroll)]
