"""Holds one random unit's claim against the compiler, and the emulator's numbers against Arm's model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.claims import claim
from deepseek_backend_npu.compiler import build
from deepseek_backend_npu.container import Container
from deepseek_backend_npu.devices import DEVICES
from deepseek_backend_npu.lowering import lower
from deepseek_backend_npu.runtime import NpuExecutable
from deepseek_backend_npu.settings import Settings
from deepseek_backend_npu.verification.sampling import Sample
from deepseek_core import CompileOptions, QuantizedModel, Target, Unit
from deepseek_core.errors import DeepseekError

__all__ = ["Verdict", "check", "run_both"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a unit.

    Attributes:
        claimed: whether the backend claims it.
        compiled: whether the compiler takes it.
        reason: of the refusal, or the compiler's error.
        different: outputs' elements in which the emulator differs from Arm's model; -1 where it refused the program.
    """

    claimed: bool
    compiled: bool
    reason: str = ""
    different: int = 0

    @property
    def agrees(self) -> bool:
        return self.claimed == self.compiled and self.different == 0


def check(sample: Sample, target: Target) -> Verdict:
    """Claim, compile, and run in the emulator and in Arm's model where the variant has both."""
    reasons: list[str] = []

    def refuse(unit: Unit, reason: str) -> None:
        reasons.append(reason)

    claim(sample.model, target, refuse)
    claimed = not reasons
    try:
        container = _compiled(sample.model, target.device)
    except (DeepseekError, ValueError) as error:  # a unit that the table refuses may be of any form
        return Verdict(claimed, False, reasons[0] if reasons else str(error))
    if not claimed:
        return Verdict(False, True, reasons[0])
    try:
        return Verdict(True, True, different=_differences(container, sample.feeds))
    except DeepseekError as error:
        return Verdict(True, True, error.message, -1)


def _compiled(model: QuantizedModel, device: str) -> Container:
    """Lowered and compiled without a look at the table."""
    settings = Settings.read({}, DEVICES[device])
    return build(lower(model), device, DEVICES[device], settings, CompileOptions(optimize=0))[0]


def _differences(container: Container, feeds: Mapping[str, NDArray[Any]]) -> int:
    if container.tier != "emulated":
        return 0
    emulated, expected = run_both(container, feeds)
    return sum(int(np.count_nonzero(emulated[name] != array)) for name, array in expected.items())


def run_both(
    container: Container, feeds: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Outputs of the emulator and of Arm's model."""
    return NpuExecutable(container).run(feeds), NpuExecutable(replace(container, tier="reference")).run(feeds)
