"""How a contract case is written: a function with an id and a phrase that says what it probes."""

from __future__ import annotations

from collections.abc import Callable

from deepseek_core.conformance.case import Case, Check

__all__ = ["Contract"]


class Contract:
    """The contract cases of one module, in the order they are written."""

    def __init__(self, prefix: str) -> None:
        self.prefix = f"contract/{prefix}"
        self.cases: list[Case] = []

    def case(self, name: str, probes: str) -> Callable[[Check], Check]:
        """Decorator that adds a check."""

        def add(check: Check) -> Check:
            self.cases.append(Case(f"{self.prefix}/{name}", probes, check))
            return check

        return add
