"""Numbers of the register command stream of Ethos-U55 and U65.

Names and numbers are those of `ethos_u55_regs.py` in ethos-u-vela 5.2.0 (Apache-2.0), which Arm generates from the
hardware's description. Here a register's name has no `NPU_SET_` in front.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "OPERATIONS",
    "REGISTERS",
    "U55",
    "WIDE_REGISTERS",
    "ClipRange",
    "Elementwise",
    "Format",
    "InstructionSet",
    "Opcode",
    "Pooling",
    "Round",
    "ScaleMode",
    "Upscale",
]


class Opcode(IntEnum):
    """Commands that do something."""

    STOP = 0x000
    IRQ = 0x001
    CONV = 0x002
    DEPTHWISE = 0x003
    POOL = 0x005
    ELEMENTWISE = 0x006
    DMA_START = 0x010
    DMA_WAIT = 0x011
    KERNEL_WAIT = 0x012
    PMU_MASK = 0x013


OPERATIONS = frozenset((Opcode.CONV, Opcode.DEPTHWISE, Opcode.POOL, Opcode.ELEMENTWISE))
"""Commands that read and write feature maps."""


class Pooling(IntEnum):
    MAX = 0
    AVERAGE = 1
    REDUCE_SUM = 2


class Elementwise(IntEnum):
    MUL = 0
    ADD = 1
    SUB = 2
    MIN = 3
    MAX = 4
    LRELU = 5
    ABS = 6
    CLZ = 7
    SHR = 8
    SHL = 9


class Round(IntEnum):
    """Rounding after a scale: of TensorFlow Lite (twice), towards zero, or half up."""

    DOUBLE = 0
    TRUNCATE = 1
    NATURAL = 2


class ScaleMode(IntEnum):
    """Which operand of a sum has a 32-bit scale."""

    BOTH_16 = 0
    A_32 = 1
    B_32 = 2


class Upscale(IntEnum):
    NONE = 0
    NEAREST = 1
    ZEROS = 2


class Format(IntEnum):
    NHWC = 0
    NHCWB16 = 1


class ClipRange(IntEnum):
    """What an activation is cut to before its bounds: the type's range, or another one."""

    OUTPUT = 0
    UINT8 = 2
    INT8 = 3
    INT16 = 5


def _feature_map(prefix: str, low: int, names: dict[str, int]) -> dict[int, str]:
    return {low + offset: f"{prefix}_{name}" for name, offset in names.items()}


REGISTERS: dict[int, str] = {
    **_feature_map(
        "IFM",
        0x100,
        {
            "PAD_TOP": 0x0,
            "PAD_LEFT": 0x1,
            "PAD_RIGHT": 0x2,
            "PAD_BOTTOM": 0x3,
            "DEPTH_M1": 0x4,
            "PRECISION": 0x5,
            "UPSCALE": 0x7,
            "ZERO_POINT": 0x9,
            "WIDTH0_M1": 0xA,
            "HEIGHT0_M1": 0xB,
            "HEIGHT1_M1": 0xC,
            "IB_END": 0xD,
            "REGION": 0xF,
        },
    ),
    **_feature_map(
        "OFM",
        0x110,
        {
            "WIDTH_M1": 0x1,
            "HEIGHT_M1": 0x2,
            "DEPTH_M1": 0x3,
            "PRECISION": 0x4,
            "BLK_WIDTH_M1": 0x5,
            "BLK_HEIGHT_M1": 0x6,
            "BLK_DEPTH_M1": 0x7,
            "ZERO_POINT": 0x8,
            "WIDTH0_M1": 0xA,
            "HEIGHT0_M1": 0xB,
            "HEIGHT1_M1": 0xC,
            "REGION": 0xF,
        },
    ),
    0x120: "KERNEL_WIDTH_M1",
    0x121: "KERNEL_HEIGHT_M1",
    0x122: "KERNEL_STRIDE",
    0x123: "PARALLEL_MODE",
    0x124: "ACC_FORMAT",
    0x125: "ACTIVATION",
    0x126: "ACTIVATION_MIN",
    0x127: "ACTIVATION_MAX",
    0x128: "WEIGHT_REGION",
    0x129: "SCALE_REGION",
    0x12D: "AB_START",
    0x12F: "BLOCKDEP",
    0x130: "DMA0_SRC_REGION",
    0x131: "DMA0_DST_REGION",
    0x132: "DMA0_SIZE0",
    0x133: "DMA0_SIZE1",
    0x180: "IFM2_BROADCAST",
    0x181: "IFM2_SCALAR",
    0x185: "IFM2_PRECISION",
    0x189: "IFM2_ZERO_POINT",
    0x18A: "IFM2_WIDTH0_M1",
    0x18B: "IFM2_HEIGHT0_M1",
    0x18C: "IFM2_HEIGHT1_M1",
    0x18D: "IFM2_IB_START",
    0x18F: "IFM2_REGION",
}
"""Register of 16 bits by opcode."""

_ADDRESSES = {"BASE0": 0, "BASE1": 1, "BASE2": 2, "BASE3": 3, "STRIDE_X": 4, "STRIDE_Y": 5, "STRIDE_C": 6}

WIDE_REGISTERS: dict[int, str] = {
    **_feature_map("IFM", 0x000, _ADDRESSES),
    **_feature_map("OFM", 0x010, _ADDRESSES),
    **_feature_map("IFM2", 0x080, _ADDRESSES),
    0x020: "WEIGHT_BASE",
    0x021: "WEIGHT_LENGTH",
    0x022: "SCALE_BASE",
    0x023: "SCALE_LENGTH",
    0x024: "OFM_SCALE",
    0x025: "OPA_SCALE",
    0x026: "OPB_SCALE",
    0x030: "DMA0_SRC",
    0x031: "DMA0_DST",
    0x032: "DMA0_LEN",
    0x033: "DMA0_SKIP0",
    0x034: "DMA0_SKIP1",
    0x090: "WEIGHT1_BASE",
    0x091: "WEIGHT1_LENGTH",
    0x092: "SCALE1_BASE",
    0x093: "SCALE1_LENGTH",
}
"""Register with a payload of 32 bits, and 16 bits of parameter above them, by opcode."""


@dataclass(frozen=True)
class InstructionSet:
    """Registers of a family by opcode.

    Attributes:
        registers: of 16 bits.
        wide: with a payload of 32 bits.
    """

    registers: Mapping[int, str]
    wide: Mapping[int, str]


U55 = InstructionSet(REGISTERS, WIDE_REGISTERS)
"""Of Ethos-U55 and U65."""
