"""A case: an id, a sentence that says what it probes, and a check that passes, fails or is skipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek_core.conformance.context import Context

__all__ = ["REFUSED", "Case", "Check", "Failed", "Result", "Skipped", "Status"]

REFUSED = "refused, as declared"
"""How the remark of a case begins that passed because table and backend refuse its model alike."""

Check = Callable[["Context"], str | None]
"""Raises `Failed` or `Skipped`; returns a remark for the report or None."""


class Status(StrEnum):
    """What became of a case."""

    PASSED = "passed"
    FAILED = "failed"
    EXPECTED_FAILURE = "expected failure"
    UNEXPECTED_PASS = "unexpected pass"
    SKIPPED = "skipped"

    @property
    def is_bad(self) -> bool:
        """Whether it keeps a backend from conforming."""
        return self in (Status.FAILED, Status.UNEXPECTED_PASS)


class Failed(Exception):  # noqa: N818
    """The backend does not do what it declared.

    Attributes:
        message: one line.
        details: further lines: expected and actual codes and where, or a traceback.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class Skipped(Exception):  # noqa: N818
    """The case cannot be decided here; the reason says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Case:
    """One question to a backend.

    Attributes:
        id: path-like and stable, for example `numerics/Conv/uint8-int8pc-uint8/asymmetric_pads`.
        probes: what a backend that fails it gets wrong, in a phrase.
        check: asks and judges.
        op: op key, for the matrix of the report; empty for contract cases.
        types: types of the rule, for example `uint8-int8pc-uint8`.
    """

    id: str
    probes: str
    check: Check = field(repr=False, compare=False)
    op: str = ""
    types: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one case.

    Attributes:
        message: why it failed or was skipped, or a remark; one line.
        details: more lines about a failure.
        seconds: wall time of the check.
    """

    id: str
    status: Status
    probes: str
    message: str = ""
    details: str = ""
    seconds: float = 0.0
    op: str = ""
    types: str = ""

    def to_json(self) -> dict[str, object]:
        """JSON form; `from_json` is its inverse."""
        return {name: getattr(self, name) for name in _FIELDS} | {"status": str(self.status)}

    @classmethod
    def from_json(cls, data: dict[str, object]) -> Result:
        """Read `to_json`'s form."""
        return cls(**{**data, "status": Status(str(data["status"]))})  # type: ignore[arg-type]


_FIELDS = ("id", "status", "probes", "message", "details", "seconds", "op", "types")
