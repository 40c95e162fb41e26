"""What a variant costs, from its machine code: an issue model of its inner loop, and the memory it moves.

A matrix instruction keeps the matrix core of its SIMD busy for (multiply-accumulates of the instruction) / (rate of the
SIMD) cycles; rates follow from a compute unit's rates in `targets`. They are the cycles of AMD's Matrix Instruction
Calculator (github.com/ROCm/amd_matrix_instruction_calculator, `matrix_calculator.py`, key `cycles`) for CDNA 2, CDNA 3,
RDNA 3 and RDNA 4; for CDNA 4, which it lacks, those of LLVM's scheduling model (`llvm/lib/Target/AMDGPU/SISchedule.td`,
`Write8PassMAI` for the 32x32 and `Write4PassMAI` for the 16x16 shapes, passes of 4 cycles).

Vector instructions issue in wave / 16 cycles on CDNA, passes of 4 cycles as LLVM's model counts them
(`SICommonWriteRes`: "1 / (operations / cycle) / 4"), and in one on RDNA, whose SIMDs have 32 lanes. Transcendental
functions are at a quarter of the rate (`WriteTrans32`: "these are quarter rate"), and so are 32-bit integer products on
RDNA (`GFX10SpeedModel` and `GFX11SpeedModel` give `WriteIntMul` the latency of `WriteQuarterRate32`; CDNA's
`SIDPFullSpeedModel` gives them the full rate). LDS gives a compute unit 128 bytes a cycle, 4 from each of 32 banks.
Latencies are not in the model: enough wavefronts are assumed to hide them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from deepseek_backend_rocm.assembly import Listing
from deepseek_backend_rocm.building import Built
from deepseek_backend_rocm.plan.steps import Step
from deepseek_backend_rocm.selection.candidates import grid_of
from deepseek_backend_rocm.targets import Gpu

__all__ = ["INT8_PRODUCTS", "Issue", "cost_of", "executed", "issue_of", "matrix_count", "problem_of", "turns_of"]

INT8_PRODUCTS = ("attention", "conv", "direct", "matmul", "part")
"""Kernels that multiply matrices of codes."""
_SHAPE = re.compile(r"_(\d+)x(\d+)x(\d+)")
_QUARTER = tuple(f"v_{name}" for name in ("cos_f", "exp_f", "log_f", "rcp_f", "rcp_iflag", "rsq_f", "sin_f", "sqrt_f"))
_QUARTER_RDNA = ("v_mul_hi_", "v_mul_lo_u32", "v_mad_u64", "v_mad_co_u64", "v_mad_i64", "v_mad_co_i64")
"""How names of instructions start that issue at a quarter of the rate."""
_LOST = 0.5
"""Share of what could overlap that does not: an assumption, which makes the denser of two equal loops win."""
_PLACES = 128
"""Bytes that LDS gives a compute unit in a cycle."""


@dataclass(frozen=True, slots=True)
class Issue:
    """Cycles in which a SIMD issues the instructions of one wavefront.

    Attributes:
        matrix: matrix instructions.
        other: vector, memory and scalar instructions.
    """

    matrix: float
    other: float

    @property
    def efficiency(self) -> float:
        """Share of matrix instructions; 0 without any."""
        total = self.matrix + self.other
        return self.matrix / total if total else 0.0


def issue_of(counts: Mapping[str, int], gpu: Gpu) -> Issue:
    """Issue cycles of a stretch of code.

    Args:
        counts: mnemonic → how often.
    """
    matrix = sum(_matrix_cycles(name, gpu) * count for name, count in counts.items() if _is_matrix(name))
    other = sum(_cycles(name, gpu) * count for name, count in counts.items() if not _is_matrix(name))
    return Issue(matrix, other)


def matrix_count(listing: Listing, gpu: Gpu) -> int:
    """Instructions of the kind that the GPU multiplies int8 matrices with."""
    return _count(listing, gpu.matrix)


def _count(listing: Listing, start: str) -> int:
    return sum(count for name, count in listing.whole.items() if name.startswith(start))


def _needed(built: Built, gpu: Gpu) -> str:
    """How names of the matrix instruction start that a variant must have; empty where it needs none."""
    if built.variant.kernel in INT8_PRODUCTS:
        return gpu.matrix
    half = built.variant.kernel == "matmul_real" and dict(built.variant.types)["y"] == "fp16"
    return gpu.matrix.replace("_i32_", "_f32_") if half and "_i32_" in gpu.matrix else ""


def problem_of(built: Built, gpu: Gpu) -> str | None:
    """Why a variant may not be chosen; None when it may."""
    if built.listing.spills or built.listing.scratch:
        return f"it spills {built.listing.spills} registers in {built.listing.scratch} bytes a lane"
    if built.shared > gpu.group_lds:
        return f"it needs {built.shared:,} bytes of LDS; a workgroup has {gpu.group_lds:,}"
    if (wanted := _needed(built, gpu)) and not _count(built.listing, wanted):
        return f"it has no {wanted} instruction"
    if not _groups_per_unit(built, gpu):
        return "a compute unit cannot hold one workgroup of it"
    return None


def cost_of(step: Step, built: Built, gpu: Gpu) -> float:
    """Seconds of a launch: the slower of issuing instructions and of moving each tensor once."""
    moved = sum(piece.bytes for piece in step.memory.values()) / gpu.bandwidth
    x, y, z = grid_of(step, built.variant)
    rounds = -(-x * y * z // gpu.units)
    waves_per_simd = max(built.threads // gpu.wave / gpu.simds, 1.0)
    together = min(_groups_per_unit(built, gpu), rounds) * waves_per_simd
    loop, rest = issue_of(built.listing.inner, gpu), issue_of(_rest(built.listing), gpu)
    turns = turns_of(step, built)
    # Other wavefronts issue while one waits for the matrix core, most of the time; a lone one waits itself.
    hidden = (1 - _LOST) * min(loop.matrix, loop.other) if together >= 2 else 0.0
    inner = loop.matrix + loop.other - hidden
    cycles = rounds * waves_per_simd * (turns * inner + rest.matrix + rest.other)
    return max(cycles / gpu.clock, moved)


def _rest(listing: Listing) -> dict[str, int]:
    return {name: count - listing.inner.get(name, 0) for name, count in listing.whole.items()}


def executed(step: Step, built: Built, gpu: Gpu) -> Issue:
    """Issue cycles of one wavefront from begin to end, each instruction outside of the inner loop taken once."""
    loop, rest, turns = issue_of(built.listing.inner, gpu), issue_of(_rest(built.listing), gpu), turns_of(step, built)
    return Issue(turns * loop.matrix + rest.matrix, turns * loop.other + rest.other)


def turns_of(step: Step, built: Built) -> int:
    """Turns of the inner loop in one workgroup."""
    if step.kernel == "conv":
        taps = step.integer("taps")
        inner = step.integer("depth") if step.constants["MODE"] == 2 else step.integer("c")
        return taps * -(-inner // built.variant.constant("BK"))
    if step.kernel == "part":
        return -(-step.integer("span") // built.variant.constant("BK"))
    if step.kernel in ("matmul", "matmul_real"):
        return -(-step.integer("k") // built.variant.constant("BK"))
    if step.kernel.startswith("attention"):
        return -(-step.integer("n") // built.variant.constant("BN")) if built.listing.inner else 1
    if step.kernel in ("depthwise", "pool"):
        return step.integer("kh") * step.integer("kw")
    return 1


def _groups_per_unit(built: Built, gpu: Gpu) -> int:
    """Workgroups that a compute unit holds at once, by registers, wavefronts and LDS."""
    waves = built.threads // gpu.wave
    by_registers = min(built.listing.occupancy or gpu.waves, gpu.waves) * gpu.simds // waves
    return min(by_registers, gpu.lds // built.shared) if built.shared else by_registers


def _is_matrix(name: str) -> bool:
    return name.startswith(("v_mfma", "v_wmma", "v_dot4"))


def _matrix_cycles(name: str, gpu: Gpu) -> float:
    found = _SHAPE.search(name)
    work = int(found[1]) * int(found[2]) * int(found[3]) if found else 4 * gpu.wave
    rate = gpu.float32 if name.endswith("f32") else gpu.float16 if "f16" in name else gpu.int8
    return work / (rate / gpu.simds)


def _cycles(name: str, gpu: Gpu) -> float:
    if name.startswith("s_"):
        return 0.0 if name.startswith(("s_wait", "s_nop", "s_delay", "s_clause", "s_barrier")) else 1.0
    if name.startswith("ds_"):
        return max(gpu.wave * _width(name) / _PLACES, 1.0)
    quarter = name.startswith(_QUARTER) or (gpu.wave == 32 and name.startswith(_QUARTER_RDNA))
    return (gpu.wave / 16 if gpu.wave == 64 else 1.0) * (4 if quarter else 1)


def _width(name: str) -> int:
    """Bytes of a lane that an LDS instruction moves."""
    bits = re.search(r"_[bu](\d+)", name)
    pair = 2 if "2" in name.split("_")[1] else 1
    return pair * int(bits[1]) // 8 if bits else 4
