"""What a step did, for reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Note"]


@dataclass(frozen=True, slots=True)
class Note:
    """One line of a step's log.

    Attributes:
        step: name of the step.
        subject: the unit (or value) it is about; empty for the whole model.
        text: for people.
        figures: numbers by name with their unit in it, for example `{"snr_before_db": 12.3, "snr_after_db": 18.0}`.
    """

    step: str
    subject: str = ""
    text: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
