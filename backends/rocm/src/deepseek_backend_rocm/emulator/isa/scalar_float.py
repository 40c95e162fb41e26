"""Arithmetic of scalar floats, which RDNA 4 has (RDNA 4 ISA 5.8, 16.1 and 16.2)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.isa.convert import to_integer
from deepseek_backend_rocm.emulator.isa.floats import fma, maximum, minimum, through_f64
from deepseek_backend_rocm.emulator.isa.registry import Step, register, step
from deepseek_backend_rocm.emulator.isa.scalars import read_f32, read_i32, read_u32, write_u32
from deepseek_backend_rocm.emulator.waves import Waves

__all__: list[str] = []

_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "s_add_f32": np.add,
    "s_sub_f32": np.subtract,
    "s_mul_f32": np.multiply,
    "s_max_f32": maximum,
    "s_min_f32": minimum,
    "s_floor_f32": np.floor,
    "s_ceil_f32": np.ceil,
    "s_trunc_f32": np.trunc,
    "s_rndne_f32": np.rint,
    "s_fmac_f32": fma,
    "s_fmaak_f32": fma,
    "s_fmamk_f32": fma,
    "v_s_exp_f32": through_f64(np.exp2),
    "v_s_log_f32": through_f64(np.log2),
    "v_s_rcp_f32": through_f64(lambda x: 1 / x),
    "v_s_rsq_f32": through_f64(lambda x: 1 / np.sqrt(x)),
    "v_s_sqrt_f32": through_f64(np.sqrt),
}


@register(*_FUNCTIONS)
def _float(inst: Instruction, architecture: Architecture) -> Step:
    function, put = _FUNCTIONS[inst.name], write_u32(inst.operands[0])
    sources = inst.operands[1:]
    if inst.name == "s_fmac_f32":
        sources = (*sources, inst.operands[0])
    reads = [read_f32(operand) for operand in sources]

    def run(waves: Waves) -> None:
        put(waves, function(*(read(waves) for read in reads)).view(np.uint32))

    return step(run, inst.operands[:1], sources)


@register("s_cvt_f32_i32", "s_cvt_f32_u32", "s_cvt_i32_f32", "s_cvt_u32_f32")
def _convert(inst: Instruction, architecture: Architecture) -> Step:
    _, _, to, source = inst.name.split("_")
    reader = {"i32": read_i32, "u32": read_u32, "f32": read_f32}[source]
    put, x = write_u32(inst.operands[0]), reader(inst.operands[1])
    functions: dict[str, Callable[[Array], Array]] = {
        "f32": lambda value: value.astype(np.float32),
        "i32": to_integer(np.int32),
        "u32": to_integer(np.uint32),
    }
    function = functions[to]
    return step(lambda waves: put(waves, function(x(waves)).view(np.uint32)), inst.operands[:1], inst.operands[1:])
