"""DeepSeek core: a quantized-model IR, the hook contract of hardware backends, and the flow between them.

Public names load on first use, so that importing the package stays fast and free of heavy libraries.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek_core.artifact import Artifact
    from deepseek_core.cost import Basis, Cost, KernelCandidate
    from deepseek_core.errors import DeepseekError
    from deepseek_core.executable import Executable, Feeds
    from deepseek_core.expectations import Expectations, KnownFailure, Rounding, Tolerance
    from deepseek_core.frame import Frame
    from deepseek_core.hookspecs import BackendInfo, hookimpl
    from deepseek_core.ir import Operand, QParams, QuantizedModel, Role, TensorInfo, Unit
    from deepseek_core.options import CompileOptions
    from deepseek_core.placement import Claim, Optimality, Placement, Refusal
    from deepseek_core.recipe import CalibratorSpec, Goal, Recipe, TensorRecipe
    from deepseek_core.registry import Backend, BrokenBackend, Registry, discover
    from deepseek_core.scheme import DType, Granularity, QuantScheme
    from deepseek_core.target import Availability, Capabilities, Limit, Missing, OpRule, Target, Tier

__version__ = "0.1.0"

_PUBLIC: dict[str, str] = {
    "Artifact": "artifact",
    "Availability": "target",
    "Backend": "registry",
    "BackendInfo": "hookspecs",
    "Basis": "cost",
    "BrokenBackend": "registry",
    "CalibratorSpec": "recipe",
    "Capabilities": "target",
    "Claim": "placement",
    "CompileOptions": "options",
    "Cost": "cost",
    "DType": "scheme",
    "DeepseekError": "errors",
    "Executable": "executable",
    "Expectations": "expectations",
    "Feeds": "executable",
    "Frame": "frame",
    "Goal": "recipe",
    "Granularity": "scheme",
    "KernelCandidate": "cost",
    "KnownFailure": "expectations",
    "Limit": "target",
    "Missing": "target",
    "OpRule": "target",
    "Operand": "ir",
    "Optimality": "placement",
    "Placement": "placement",
    "QParams": "ir",
    "QuantScheme": "scheme",
    "QuantizedModel": "ir",
    "Recipe": "recipe",
    "Refusal": "placement",
    "Registry": "registry",
    "Role": "ir",
    "Rounding": "expectations",
    "Target": "target",
    "TensorInfo": "ir",
    "TensorRecipe": "recipe",
    "Tier": "target",
    "Tolerance": "expectations",
    "Unit": "ir",
    "discover": "registry",
    "hookimpl": "hookspecs",
}
"""Public name → the module that defines it."""

__all__ = [
    "Artifact",
    "Availability",
    "Backend",
    "BackendInfo",
    "Basis",
    "BrokenBackend",
    "CalibratorSpec",
    "Capabilities",
    "Claim",
    "CompileOptions",
    "Cost",
    "DType",
    "DeepseekError",
    "Executable",
    "Expectations",
    "Feeds",
    "Frame",
    "Goal",
    "Granularity",
    "KernelCandidate",
    "KnownFailure",
    "Limit",
    "Missing",
    "OpRule",
    "Operand",
    "Optimality",
    "Placement",
    "QParams",
    "QuantScheme",
    "QuantizedModel",
    "Recipe",
    "Refusal",
    "Registry",
    "Role",
    "Rounding",
    "Target",
    "TensorInfo",
    "TensorRecipe",
    "Tier",
    "Tolerance",
    "Unit",
    "__version__",
    "discover",
    "hookimpl",
]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'deepseek_core' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"deepseek_core.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
