"""The whole contract between the core and a backend, on one page.

A backend is a pip package with an entry point in group `deepseek.backends` that names a module (or object)
whose functions carry `@hookimpl`. Each backend has a plugin manager of its own, so a hook always answers for
the backend that was asked. All hooks are `firstresult`: data in, data out. An implementation may leave out
trailing arguments it does not need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pluggy

from deepseek_core.target import Availability, Capabilities, Target

if TYPE_CHECKING:
    from deepseek_core.artifact import Artifact
    from deepseek_core.calibration import Calibrator
    from deepseek_core.cost import Cost, KernelCandidate
    from deepseek_core.executable import Executable
    from deepseek_core.expectations import Expectations
    from deepseek_core.ir import QuantizedModel, Unit
    from deepseek_core.options import CompileOptions
    from deepseek_core.passes import Pass
    from deepseek_core.placement import Claim
    from deepseek_core.recipe import Goal, Recipe

__all__ = ["ENTRY_POINT_GROUP", "HOOK_API", "BackendInfo", "hookimpl"]

ENTRY_POINT_GROUP = "deepseek.backends"
HOOK_API = (1, 0)
"""(major, minor): a new optional hook or argument is a minor version, a removed or re-meant one a major."""

hookspec = pluggy.HookspecMarker("deepseek")
hookimpl = pluggy.HookimplMarker("deepseek")


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """Who a backend is.

    Attributes:
        name: the `backend` part of its targets.
        hook_api: the `HOOK_API` it was written against.
        targets: every target it can compile for; the first is its default.
        summary: one line for people.
        version: version of its distribution.
    """

    name: str
    hook_api: tuple[int, int]
    targets: tuple[Target, ...]
    summary: str
    version: str


@hookspec(firstresult=True)
def deepseek_backend() -> BackendInfo:
    """Required. Name, hook API version and targets. Must not import a vendor package."""
    raise NotImplementedError


@hookspec(firstresult=True)
def deepseek_capabilities(target: Target) -> Capabilities:
    """Required. The capability table: recipe, claims and conformance cases are derived from it."""
    raise NotImplementedError


@hookspec(firstresult=True)
def deepseek_probe(target: Target) -> Availability:
    """Required. What of toolchain and device is here, and the fix for what is not. Must not raise or be slow."""
    raise NotImplementedError


@hookspec(firstresult=True)
def deepseek_recipe(model: QuantizedModel, target: Target, goal: Goal) -> Recipe | None:
    """Optional. Scheme and calibrator of each tensor worth quantizing; None derives it from the table."""
    raise NotImplementedError


@hookspec(firstresult=True)
def deepseek_calibrators() -> Mapping[str, Callable[..., Calibrator]]:
    """Optional. Vendor calibrators by name, beside the core's; the name is prefixed with the backend's."""
    raise NotImplementedError


@hookspec(firstresult=True)
def deepseek_claim(
    model: QuantizedModel, target: Target, refuse: Callable[[Unit, str], None]
) -> Sequence[Claim] | None:
    """Optional. Units the target would run; call `refuse(unit, reason[, change])` for the others. None derives both."""
    raise NotImplementedError


@hookspec(firstresult=True)
def deepseek_cost(units: Sequence[Unit], target: Target) -> Cost | None:
    """Optional. Cost of the units as one part, without transfers to other targets; None takes the roofline."""
    raise NotImplementedError


@hookspec(firstresult=True)
def deepseek_passes(target: Target) -> Sequence[Pass]:
    """Optional. Legalising passes, run on a part before it is compiled."""
    raise NotImplementedError


@hookspec(firstresult=True)
def deepseek_kernels(unit: Unit, target: Target) -> Sequence[KernelCandidate]:
    """Optional. Kernel candidates of a unit, the default first."""
    raise NotImplementedError


@hookspec(firstresult=True)
def deepseek_compile(model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
    """Required. One artifact for this kind of machine. `model` is a whole model or one part of a placement."""
    raise NotImplementedError


@hookspec(firstresult=True)
def deepseek_cross_compile(
    model: QuantizedModel, target: Target, format: str, options: CompileOptions
) -> Artifact | None:
    """Optional. A stand-alone image for another machine in the named format; None when not supported."""
    raise NotImplementedError


@hookspec(firstresult=True)
def deepseek_load(artifact: Artifact, device: str | None) -> Executable:
    """Required. Open an artifact; `device` picks one of several, None the default. Never falls back silently."""
    raise NotImplementedError


@hookspec(firstresult=True)
def deepseek_expectations(target: Target) -> Expectations:
    """Optional. Tolerances and known failures, each with its reason; default: bit-exact, none."""
    raise NotImplementedError
