"""Values that go from lane to lane, or between lanes and scalars (CDNA 3 ISA 12.11; CDNA 4 ISA; RDNA 3 ISA 16.9)."""

from __future__ import annotations

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.isa.registry import Step, register, step
from deepseek_backend_rocm.emulator.isa.scalars import read_u32 as read_scalar
from deepseek_backend_rocm.emulator.isa.scalars import write_u32
from deepseek_backend_rocm.emulator.isa.vectors import number_of, read, write
from deepseek_backend_rocm.emulator.waves import Waves

__all__: list[str] = []


@register("v_readfirstlane_b32")
def _first_lane(inst: Instruction, architecture: Architecture) -> Step:
    """Of the first lane that executes; of lane 0 when none does."""
    put, x = write_u32(inst.operands[0]), read(inst, 1, "u32")

    def run(waves: Waves) -> None:
        values = np.broadcast_to(x(waves), waves.mask.shape)
        if waves.full:
            put(waves, values[:, 0])
        else:
            put(waves, values[np.arange(waves.count), np.argmax(waves.mask, axis=1)])

    return step(run, inst.operands[:1], inst.operands[1:])


@register("v_readlane_b32")
def _read_lane(inst: Instruction, architecture: Architecture) -> Step:
    put, x, lane = write_u32(inst.operands[0]), read(inst, 1, "u32"), read_scalar(inst.operands[2])

    def run(waves: Waves) -> None:
        values = np.broadcast_to(x(waves), waves.mask.shape)
        put(waves, values[np.arange(waves.count), lane(waves) % np.uint32(waves.lanes)])

    return step(run, inst.operands[:1], inst.operands[1:])


@register("v_writelane_b32")
def _write_lane(inst: Instruction, architecture: Architecture) -> Step:
    """One lane is written, whether it executes or not.

    Compilers keep tuples of scalars there, parts that hold nothing too: what is written may be undefined.
    """
    target, index = inst.operands[0], number_of(inst.operands[0])
    x, lane = read_scalar(inst.operands[1]), read_scalar(inst.operands[2])

    def run(waves: Waves) -> None:
        which = np.arange(waves.count)[waves.active]
        lanes = np.broadcast_to(lane(waves) % np.uint32(waves.lanes), waves.count)
        waves.v[index][which, lanes[which]] = np.broadcast_to(x(waves), waves.count)[which]

    return step(run, [target], inst.operands[2:])


@register("v_mbcnt_lo_u32_b32", "v_mbcnt_hi_u32_b32")
def _count_below(inst: Instruction, architecture: Architecture) -> Step:
    """Ones of a mask's half in places below the lane, plus the second operand."""
    put, high = write(inst), "_hi_" in inst.name
    x, y = read(inst, 1, "u32"), read(inst, 2, "u32")

    def run(waves: Waves) -> None:
        lane = np.arange(waves.lanes)
        places = np.clip(lane - 32, 0, 32) if high else np.minimum(lane, 32)
        below = ((np.uint64(1) << places.astype(np.uint64)) - np.uint64(1)).astype(np.uint32)
        put(waves, np.bitwise_count(x(waves) & below[None]).astype(np.uint32) + y(waves))

    return step(run, inst.operands[:1], inst.operands[1:])


@register("v_permlane32_swap_b32", "v_permlane16_swap_b32")
def _swap_halves(inst: Instruction, architecture: Architecture) -> Step:
    """Odd groups of 32 or 16 lanes of the first register change places with even groups of the second."""
    one, two = (number_of(operand) for operand in inst.operands)
    size = 32 if "32_swap" in inst.name else 16

    def run(waves: Waves) -> None:
        shape = (waves.count, waves.lanes // (2 * size), 2, size)
        x, y = waves.v[one].reshape(shape), waves.v[two].reshape(shape)
        first, second = x.copy(), y.copy()
        first[:, :, 1], second[:, :, 0] = y[:, :, 0], x[:, :, 1]
        waves.write_v(one, first.reshape(waves.mask.shape))
        waves.write_v(two, second.reshape(waves.mask.shape))

    return step(run, inst.operands, inst.operands)


@register("v_permlane16_b32", "v_permlanex16_b32")
def _permute_row(inst: Instruction, architecture: Architecture) -> Step:
    """Within rows of 16 lanes, or from the other row of each pair; 4 bits of two scalars choose each lane's source."""
    put, x = write(inst), read(inst, 1, "u32")
    low, high = (read_scalar(operand) for operand in inst.operands[2:4])
    cross = 16 if "x16" in inst.name else 0
    selected = inst.modifiers.numbers("op_sel", (0, 0))
    inactive, zero = selected[0] == 1, selected[1] == 1
    target = number_of(inst.operands[0])

    def run(waves: Waves) -> None:
        lane = np.arange(waves.lanes)
        half = np.where(lane[None] & 15 >= 8, high(waves)[:, None], low(waves)[:, None])
        source = (lane & 16 ^ cross) | (half >> ((lane & 7) * 4).astype(np.uint32)[None] & np.uint32(15)).astype(
            np.int64
        )
        source = np.broadcast_to(source | lane & ~31, waves.mask.shape)
        values = np.take_along_axis(np.broadcast_to(x(waves), waves.mask.shape), source, axis=1)
        if not inactive and not waves.full:
            valid = np.take_along_axis(waves.mask, source, axis=1)
            values = np.where(valid, values, np.uint32(0) if zero else waves.v[target])
        put(waves, values)

    return step(run, inst.operands[:1], inst.operands[1:])


@register("v_permlane64_b32")
def _other_half(inst: Instruction, architecture: Architecture) -> Step:
    """Nothing moves in waves of 32 lanes."""
    put, x = write(inst), read(inst, 1, "u32")
    return step(lambda waves: put(waves, x(waves)), inst.operands[:1], inst.operands[1:])


@register("v_swap_b32")
def _swap(inst: Instruction, architecture: Architecture) -> Step:
    one, two = (number_of(operand) for operand in inst.operands)

    def run(waves: Waves) -> None:
        x, y = waves.v[one].copy(), waves.v[two].copy()
        waves.write_v(one, y)
        waves.write_v(two, x)

    return step(run, inst.operands, inst.operands)
