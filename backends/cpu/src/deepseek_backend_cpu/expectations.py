"""Where ONNX Runtime differs from the reference, as measured over the conformance cases."""

from __future__ import annotations

from deepseek_core import Expectations, Target, Tolerance

__all__ = ["expectations"]

_ONE = Tolerance(lsb=1)


def expectations(target: Target) -> Expectations:
    return Expectations(default=_ONE)
