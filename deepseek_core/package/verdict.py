"""May the artifacts of a package run here as they are, must they be built again, or neither?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from deepseek_core.artifact import Artifact
from deepseek_core.errors import TargetError
from deepseek_core.hookspecs import HOOK_API
from deepseek_core.package.package import Package
from deepseek_core.registry import Registry
from deepseek_core.target import Availability

__all__ = ["Action", "Verdict", "verdict", "verdicts"]


class Action(IntEnum):
    """What to do with an artifact; the larger, the worse."""

    RUN = 0
    REBUILD = 1
    REFUSE = 2

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, why, and for a refusal what the user can do about it."""

    action: Action
    reason: str
    fix: str = ""


def verdicts(package: Package, registry: Registry) -> tuple[Verdict, ...]:
    """One verdict for each artifact of a package; hashes were checked when it was opened."""
    return tuple(_judge(artifact, package.manifest.hook_api, registry) for artifact in package.artifacts)


def verdict(package: Package, registry: Registry) -> Verdict:
    """The strictest verdict on any artifact of a package."""
    if not package.is_compiled:
        return Verdict(Action.REFUSE, "the package holds a model that is not compiled", "run `deepseek compile` on it")
    fine = Verdict(Action.RUN, "everything fits this machine")
    return max((*verdicts(package, registry), fine), key=lambda found: found.action)


def _judge(artifact: Artifact, hook_api: tuple[int, int], registry: Registry) -> Verdict:
    try:
        backend, target = registry.resolve(artifact.target)
    except TargetError as error:
        return Verdict(Action.REFUSE, error.message, error.fix)
    here = backend.probe(target)
    if not here.can_run:
        return _lacking(f"{target} cannot run here", here)
    stale = _stale(artifact, hook_api, here)
    if stale is None:
        return Verdict(Action.RUN, f"built for {target} with what is installed here")
    if not here.can_compile:
        return _lacking(f"{stale}, and {target} cannot compile here", here)
    return Verdict(Action.REBUILD, stale)


def _stale(artifact: Artifact, hook_api: tuple[int, int], here: Availability) -> str | None:
    """Why the bytes do not fit this machine; None when they do."""
    if hook_api[0] != HOOK_API[0]:
        return f"it was built for hook API {hook_api[0]}, this core has {HOOK_API[0]}"
    lacking = [feature for feature in artifact.requires if feature not in here.features]
    if lacking:
        return f"it needs {', '.join(lacking)}, which this machine lacks"
    for name, version in artifact.toolchain.items():
        if here.toolchain.get(name, version) != version:
            return f"it was built with {name} {version}, and {here.toolchain[name]} is installed here"
    return None


def _lacking(what: str, here: Availability) -> Verdict:
    missing = ", ".join(m.what for m in here.missing)
    fix = "; ".join(m.fix for m in here.missing) or "compile the package for another target"
    return Verdict(Action.REFUSE, f"{what} ({missing})" if missing else what, fix)
