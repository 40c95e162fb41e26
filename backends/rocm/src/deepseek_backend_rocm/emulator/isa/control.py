"""Flow, waiting and synchronisation: SOPP (CDNA 3 ISA chapter 4 and 12.5; RDNA 3 ISA chapter 5 and 16.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.faults import KernelFault, UnknownInstructionError
from deepseek_backend_rocm.emulator.isa.registry import SGPR, Control, Step, register
from deepseek_backend_rocm.emulator.operands import EXEC, VCC
from deepseek_backend_rocm.emulator.scoreboard import LOAD, LOCAL, SCALAR, STORE
from deepseek_backend_rocm.emulator.waves import Waves

__all__: list[str] = []


def _nothing(waves: Waves) -> None:
    pass


@register(
    "s_nop",
    "s_setprio",
    "s_sleep",
    "s_clause",
    "s_delay_alu",
    "s_waitcnt_depctr",
    "s_wait_alu",
    "s_sendmsg",
    "s_code_end",
    "s_inst_prefetch",
    "s_set_inst_prefetch_distance",
    "s_setprio_inc_wg",
    "s_ttracedata",
    "buffer_gl0_inv",
    "buffer_gl1_inv",
    "buffer_inv",
    "buffer_wbl2",
    "buffer_invl2",
    "buffer_wbinvl1",
    "global_inv",
    "global_wb",
    "global_wbinv",
    "s_version",
)
def _no_effect(inst: Instruction, architecture: Architecture) -> Step:
    """Time and caches: memory here is coherent, and results are there at once."""
    inst.modifiers.flag(*inst.modifiers)
    return Step(_nothing)


@register("s_endpgm")
def _end(inst: Instruction, architecture: Architecture) -> Step:
    return Step(_nothing, control="end")


def _any_bits(index: int) -> Callable[[Waves], Array]:
    """Whether a mask has any lanes, [W]."""

    def read(waves: Waves) -> Array:
        bits = waves.s64[index // 2] if waves.lanes == 64 else waves.s[index]
        result: Array = bits != 0
        return result

    return read


_CONDITIONS: dict[str, Callable[[Waves], Any]] = {
    "s_branch": lambda _: True,
    "s_cbranch_scc0": lambda waves: ~waves.scc,
    "s_cbranch_scc1": lambda waves: waves.scc,
    "s_cbranch_vccz": lambda waves: ~_any_bits(VCC)(waves),
    "s_cbranch_vccnz": _any_bits(VCC),
    "s_cbranch_execz": lambda waves: ~_any_bits(EXEC)(waves),
    "s_cbranch_execnz": _any_bits(EXEC),
}


@register(*_CONDITIONS)
def _branch(inst: Instruction, architecture: Architecture) -> Step:
    words = int(inst.operands[0].value)
    words -= 1 << 16 if words >= 1 << 15 else 0
    control: Control = "skip" if inst.name == "s_cbranch_execz" and words >= 0 else "branch"
    target = inst.address + inst.size + 4 * words
    reads = frozenset({SGPR + VCC}) if "vcc" in inst.name else frozenset[int]()
    return Step(_CONDITIONS[inst.name], reads, control=control, target=target)


@register("s_barrier")
def _barrier(inst: Instruction, architecture: Architecture) -> Step:
    return Step(_arrive, control="barrier")


@register("s_barrier_signal")
def _signal(inst: Instruction, architecture: Architecture) -> Step:
    return Step(_arrive, control="signal")


@register("s_barrier_wait")
def _wait_for_signals(inst: Instruction, architecture: Architecture) -> Step:
    return Step(_nothing, control="barrier")


def _arrive(waves: Waves) -> None:
    """What a wave stored is then seen by others, and what it reads nobody changes before."""
    if not waves.board.local_is_done(waves.active):
        raise KernelFault("comes to a barrier with accesses to LDS that were not waited for")


_COUNTERS = {"vmcnt": (LOAD,), "lgkmcnt": (LOCAL, SCALAR), "vscnt": (STORE,), "expcnt": ()}


def _waiting(waits: list[tuple[str, int]]) -> Step:
    def run(waves: Waves) -> None:
        for kind, most in waits:
            waves.board.wait(kind, most, waves.active, waves.every)

    return Step(run)


@register("s_waitcnt")
def _wait(inst: Instruction, architecture: Architecture) -> Step:
    """Counters that are not named are not waited for; each is written with the number that may be outstanding."""
    text, modifiers = inst.text, inst.modifiers
    named = {name: modifiers.number(name) for name in list(modifiers)}
    for operand in inst.operands:  # the first counter parses as an operand
        name, _, value = operand.text.partition("(")
        named[name] = int(value.rstrip(")"), 0)
    assert named.keys() <= _COUNTERS.keys(), text
    return _waiting([(kind, most) for name, most in named.items() for kind in _COUNTERS[name]])


@register("s_waitcnt_vscnt", "s_waitcnt_vmcnt", "s_waitcnt_lgkmcnt", "s_waitcnt_expcnt")
def _wait_one(inst: Instruction, architecture: Architecture) -> Step:
    counter, most = inst.name.rpartition("_")[2], int(inst.operands[1].value)
    return _waiting([(kind, most) for kind in _COUNTERS[counter]])


_SPLIT: dict[str, tuple[str, ...]] = {
    "s_wait_loadcnt": (LOAD,),
    "s_wait_storecnt": (STORE,),
    "s_wait_dscnt": (LOCAL,),
    "s_wait_kmcnt": (SCALAR,),
    "s_wait_loadcnt_dscnt": (LOAD, LOCAL),
    "s_wait_storecnt_dscnt": (STORE, LOCAL),
    "s_wait_samplecnt": (),
    "s_wait_bvhcnt": (),
    "s_wait_expcnt": (),
    "s_wait_idle": (LOAD, STORE, LOCAL, SCALAR),
}


@register(*_SPLIT)
def _wait_split(inst: Instruction, architecture: Architecture) -> Step:
    """RDNA 4 ISA 5.7: of two counters in one, the first is in bits 8 to 13."""
    kinds, value = _SPLIT[inst.name], int(inst.operands[0].value) if inst.operands else 0
    if len(kinds) == 2:
        return _waiting([(kinds[0], value >> 8 & 63), (kinds[1], value & 63)])
    return _waiting([(kind, value) for kind in kinds])


@register("s_getreg_b32", "s_setreg_b32", "s_setreg_imm32_b32")
def _mode(inst: Instruction, architecture: Architecture) -> Step:
    """Hardware registers hold no state that is emulated; changing the modes of floats is refused."""
    raise UnknownInstructionError(
        f"{architecture.name}: '{inst.text}' reads or changes hardware modes, which are not emulated",
        fix="report it, with the kernel",
    )
