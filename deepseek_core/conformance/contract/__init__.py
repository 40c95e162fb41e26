"""Contract cases: what every backend must keep, whatever its numerics."""

from __future__ import annotations

from collections.abc import Iterator

from deepseek_core.conformance.case import Case
from deepseek_core.conformance.contract import artifacts, backend, claims, compilation, cross, device, execution
from deepseek_core.target import Capabilities

__all__ = ["contract_cases"]

_MODULES = (backend, claims, compilation, artifacts, execution, device, cross)


def contract_cases(capabilities: Capabilities) -> Iterator[Case]:
    """Every contract case; those that do not apply are skipped with a reason."""
    for module in _MODULES:
        yield from module.CONTRACT.cases
