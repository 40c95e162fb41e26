"""A survey of the installed backends: what each target can do on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek_core.registry import Backend, Registry
from deepseek_core.target import Availability, Missing, Target

__all__ = ["BackendStatus", "TargetStatus", "survey"]


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """A target and what of it is present here."""

    target: Target
    availability: Availability


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """A backend and the state of each of its targets, in the order it declares them."""

    backend: Backend
    targets: tuple[TargetStatus, ...]


def survey(registry: Registry) -> tuple[BackendStatus, ...]:
    """Probe every target of every backend, by name of the backend.

    A probe must not raise; one that does is reported as missing, so that it hides no other target.
    """
    return tuple(
        BackendStatus(backend, tuple(TargetStatus(target, _probe(backend, target)) for target in backend.targets))
        for _, backend in sorted(registry.backends.items())
    )


def _probe(backend: Backend, target: Target) -> Availability:
    try:
        return backend.probe(target)
    except Exception as error:  # the contract forbids it, but one bad probe must not take the survey down
        line = " ".join(f"{type(error).__name__}: {error}".split())
        fix = f"report it to the authors of {backend.distribution or backend.name}"
        return Availability(can_compile=False, can_run=False, missing=(Missing(f"a probe that works ({line})", fix),))
