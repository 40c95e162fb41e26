"""Numbers of the register command stream of Ethos-U85.

Names and numbers are those of `ethos_u85_interface.hpp` in the sources of ethos-u-vela 5.2.0 (Apache-2.0). What has the
same number as in Ethos-U55 is in `emulator.isa`.
"""

from __future__ import annotations

from enum import IntEnum

from deepseek_backend_npu.emulator.isa import REGISTERS, WIDE_REGISTERS, InstructionSet, Round

__all__ = ["MICROBLOCKS", "ROUNDS", "TRANSPOSES", "U85", "Elementwise", "Lookup", "Pooling", "Source", "Storage"]


class Pooling(IntEnum):
    MAX = 0
    AVERAGE = 1
    REDUCE_SUM = 2
    SUM = 3
    NONE = 4
    MIN = 5


class Elementwise(IntEnum):
    MUL = 0
    ADD = 1
    SUB = 2
    MIN = 3
    MAX = 4
    ABS = 6
    CLZ = 7
    SHR = 8
    SHL = 9


class Storage(IntEnum):
    """Where a feature map is: in memory, in the buffer between chained operations, or nowhere (a scalar)."""

    TILES = 0
    CHAINED = 2
    NONE = 3


class Source(IntEnum):
    """What accumulators start from."""

    RESET = 0
    IFM2 = 2


class Lookup(IntEnum):
    """Tables, by the types of index and result."""

    NONE = 0
    S8_S8 = 4
    S16_S16 = 8
    S16_S32 = 9


ROUNDS = {0: Round.DOUBLE, 1: Round.NATURAL, 4: Round.TRUNCATE}
"""Rounding of a scale by its number; the others are in no program that the lowering causes."""

TRANSPOSES = {0: (0, 1, 2), 1: (1, 0, 2), 2: (0, 2, 1), 3: (1, 2, 0), 6: (2, 0, 1), 7: (2, 1, 0)}
"""Which of height, width and depth each axis of the stored output is."""

MICROBLOCKS = {0: (1, 1), 1: (1, 2), 2: (1, 4), 3: (2, 2), 4: (2, 4), 5: (4, 4)}
"""Height and width of the smallest block."""

_GONE = ("AB_START", "PARALLEL_MODE", "IB_END", "IB_START", "IFM2_SCALAR", "OPA_SCALE", "OPB_SCALE", "SKIP", "SCALE1")

U85 = InstructionSet(
    {number: name for number, name in REGISTERS.items() if not any(part in name for part in _GONE)}
    | {0x108: "IFM_BROADCAST", 0x12E: "WEIGHT_FORMAT", 0x134: "DMA0_IDX_REGION"},
    {number: name for number, name in WIDE_REGISTERS.items() if not any(part in name for part in _GONE)}
    | {
        0x025: "IFM_SCALE",
        0x026: "IFM2_SCALE",
        0x027: "OP_SCALAR",
        0x033: "DMA0_SRC_STRIDE0",
        0x034: "DMA0_SRC_STRIDE1",
        0x035: "DMA0_DST_STRIDE0",
        0x036: "DMA0_DST_STRIDE1",
        0x092: "WEIGHT2_BASE",
        0x093: "WEIGHT2_LENGTH",
        0x094: "WEIGHT3_BASE",
        0x095: "WEIGHT3_LENGTH",
    },
)
