"""Attention in one kernel beside the same units in launches of their own: how many, what they move, what they cost."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any
from unittest import mock

from deepseek_backend_rocm.compiler import plan
from deepseek_backend_rocm.plan.steps import Step
from deepseek_backend_rocm.selection.choose import Chooser
from deepseek_backend_rocm.selection.model import executed
from deepseek_backend_rocm.targets import GPUS, LAUNCH
from deepseek_core import CompileOptions, Target
from rocm_networks import Case

__all__ = ["fused_and_apart"]


def fused_and_apart(case: Case, architecture: str) -> dict[str, Any]:
    """Launches of the whole network, and bytes and analytic seconds of its steps, with attention fused and without."""
    rows: dict[str, Any] = {"fused": _sum(_steps(case, architecture), architecture)}
    with mock.patch.object(
        importlib.import_module("deepseek_backend_rocm.lowering.lower"), "attentions", return_value={}
    ):
        rows["apart"] = _sum(_steps(case, architecture), architecture)
    kernels = [step for step in _steps(case, architecture) if step.kernel.startswith("attention")]
    chooser, gpu = Chooser(GPUS[architecture]), GPUS[architecture]
    dense = [executed(step, chooser.choose(step).built, gpu).efficiency for step in kernels]
    return {**rows, "kernels": len(kernels), "dense": sum(dense) / max(len(dense), 1)}


def _steps(case: Case, architecture: str) -> Sequence[Step]:
    return plan(case.model, Target("rocm", architecture), CompileOptions()).steps


def _sum(steps: Sequence[Step], architecture: str) -> dict[str, float]:
    choices = [Chooser(GPUS[architecture]).choose(step) for step in steps]
    launches = [launch for choice in choices for launch in choice.launches]
    moved = sum(piece.bytes for step, _ in launches for piece in step.memory.values())
    return {
        "launches": len(launches),
        "bytes": moved,
        "seconds": sum(choice.seconds for choice in choices) + LAUNCH * len(choices),
    }
