"""Instructions to steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deepseek_backend_rocm.emulator import isa
from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.faults import CodeError, UnknownInstructionError
from deepseek_backend_rocm.emulator.isa.names import canonical
from deepseek_backend_rocm.emulator.isa.registry import Step, table
from deepseek_backend_rocm.emulator.operands import VCC, Operand
from deepseek_backend_rocm.emulator.waves import Waves

__all__ = ["build"]

_FIX = "report it, with the kernel"
_STEPS: dict[tuple[str, str], Step] = {}
_MOST_STEPS = 1 << 16
assert isa is not None  # imported for what it registers


def build(inst: Instruction, architecture: Architecture) -> Step:
    """What an instruction does; of those with the same text, but for branches, the same step.

    Raises:
        UnknownInstructionError: it is not emulated, or something about it is not.
    """
    key = inst.text, architecture.name
    step = _STEPS.get(key)
    if step is None:
        step = _built(inst, architecture)
        if step.control not in ("branch", "skip"):
            if len(_STEPS) >= _MOST_STEPS:
                _STEPS.clear()
            _STEPS[key] = step
    return step


def _built(inst: Instruction, architecture: Architecture) -> Step:
    if inst.second is not None:
        return _dual(inst, architecture)
    builder = table().get(canonical(inst.name))
    if builder is None:
        raise _unknown(inst, architecture, "")
    try:
        step = builder(_renamed(inst), architecture)
    except CodeError as error:
        raise _unknown(inst, architecture, f": {error.message}") from None
    except (AssertionError, IndexError, KeyError, TypeError, ValueError) as error:
        raise _unknown(inst, architecture, f" in this form ({type(error).__name__}: {error})") from error
    ignored = inst.modifiers.ignored
    if ignored:
        raise _unknown(inst, architecture, f" with {', '.join(ignored)}")
    return step


def _unknown(inst: Instruction, architecture: Architecture, why: str) -> UnknownInstructionError:
    text = f"'{inst.text}' at {inst.address:#x} is not emulated on {architecture.name}{why}"
    return UnknownInstructionError(text, fix=_FIX)


def _renamed(inst: Instruction) -> Instruction:
    return replace(inst, name=canonical(inst.name))


def _dual(inst: Instruction, architecture: Architecture) -> Step:
    """Two instructions in one: both read before any writes (RDNA 3 ISA 7.6 "Dual Issue VALU")."""
    assert inst.second is not None
    one, two = (build(_half(half, architecture), architecture) for half in (replace(inst, second=None), inst.second))
    shared = sorted(one.writes & two.reads)

    def run(waves: Waves) -> None:
        before = [waves.v[index].copy() for index in shared]
        one.run(waves)
        after = [waves.v[index].copy() for index in shared]
        for index, old in zip(shared, before, strict=True):
            waves.v[index][:] = old
        two.run(waves)
        for index, new in zip(shared, after, strict=True):
            np.copyto(waves.v[index], new)

    return Step(run, one.reads | two.reads, one.writes | two.writes)


def _half(inst: Instruction, architecture: Architecture) -> Instruction:
    """One half, with the mask that a selection leaves out."""
    if inst.name == "v_dual_cndmask_b32" and len(inst.operands) == 3:
        return replace(inst, operands=(*inst.operands, Operand("s", "vcc_lo", VCC, 1)))
    return inst
