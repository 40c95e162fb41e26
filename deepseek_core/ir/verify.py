"""Verification: everything that must hold for a model in canonical form, reported at once."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from deepseek_core.ir.checks.canonical import canonical_problems
from deepseek_core.ir.checks.quantization import quantization_problems
from deepseek_core.ir.checks.report import Problem, refuse
from deepseek_core.ir.checks.signatures import signature_problems
from deepseek_core.ir.checks.structure import structure_problems
from deepseek_core.ir.model import QuantizedModel

__all__ = ["Problem", "problems", "verify"]


def verify(model: QuantizedModel) -> None:
    """Check structure, operator signatures, quantization parameters and the rules of canonical form.

    Raises:
        ModelError: something does not hold; the message names every node concerned, the fix what mends it.
    """
    refuse(problems(model.model))


def problems(model: ir.Model) -> Iterator[Problem]:
    """Everything `verify` would complain about; a malformed graph is not looked into any further."""
    found = list(structure_problems(model))
    yield from found
    if not found:
        yield from signature_problems(model)
        yield from quantization_problems(model)
        yield from canonical_problems(model)
