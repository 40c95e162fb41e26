"""The Ethos-U variants: what the hardware has, and the systems that Vela's own configuration describes.

Figures are from `architecture_features.py` and `vela.ini` of ethos-u-vela 5.2.0 (Apache-2.0), where Arm publishes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from deepseek_core import Target, Tier
from deepseek_core.errors import TargetError

__all__ = ["DEVICES", "MEMORY_MODES", "SYSTEMS", "Device", "System", "device_name", "device_of", "look_up"]

_KIB = 1024
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class System:
    """A system around the NPU, by the name that Vela's configuration gives it.

    Attributes:
        family: `ethos-u55`, `ethos-u65` or `ethos-u85`.
        clock: Hz of the NPU.
        bandwidth: bytes per second of its fast memory.
    """

    family: str
    clock: float
    bandwidth: float


SYSTEMS: dict[str, System] = {
    "Ethos_U55_Deep_Embedded": System("ethos-u55", 200e6, 1.6e9),
    "Ethos_U55_High_End_Embedded": System("ethos-u55", 500e6, 4e9),
    "Ethos_U65_Embedded": System("ethos-u65", 500e6, 8e9),
    "Ethos_U65_Mid_End": System("ethos-u65", 500e6, 8e9),
    "Ethos_U65_High_End": System("ethos-u65", 1e9, 16e9),
    "Ethos_U65_Client_Server": System("ethos-u65", 1e9, 16e9),
    "Ethos_U85_SYS_Flash_Low": System("ethos-u85", 200e6, 6.4e9),
    "Ethos_U85_SYS_Flash_High": System("ethos-u85", 500e6, 16e9),
    "Ethos_U85_SYS_DRAM_Low": System("ethos-u85", 500e6, 16e9),
    "Ethos_U85_SYS_DRAM_Mid": System("ethos-u85", 1e9, 32e9),
    "Ethos_U85_SYS_DRAM_High": System("ethos-u85", 1e9, 64e9),
}

MEMORY_MODES: dict[str, tuple[str, ...]] = {
    "Sram_Only": ("ethos-u55", "ethos-u85"),
    "Shared_Sram": ("ethos-u55", "ethos-u65", "ethos-u85"),
    "Dedicated_Sram": ("ethos-u65", "ethos-u85"),
    "Dedicated_Sram_256KB": ("ethos-u65", "ethos-u85"),
    "Dedicated_Sram_384KB": ("ethos-u65", "ethos-u85"),
    "Dedicated_Sram_512KB": ("ethos-u65", "ethos-u85"),
}
"""Memory mode → families that have it."""


@dataclass(frozen=True, slots=True)
class Device:
    """One variant.

    Attributes:
        family: as in `System`.
        macs: 8-bit multiply-accumulates of one core in a cycle.
        cores: cores that share the output channels of an operation.
        output_block: channels of a block of output elements, the unit in which weights are ordered.
        input_block: channels of a block of input elements.
        banks: banks of 1 KiB in a core's shared buffer RAM, 0 where the family has none.
        system: default system.
        memory_mode: default memory mode.
    """

    family: str
    macs: int
    cores: int
    output_block: int
    input_block: int
    banks: int
    system: str
    memory_mode: str = "Shared_Sram"

    @property
    def accelerator(self) -> str:
        """The compiler's name of the family."""
        return {"ethos-u55": "EthosU55", "ethos-u65": "EthosU65", "ethos-u85": "EthosU85"}[self.family]

    @property
    def product(self) -> int:
        """Product number in the payload's configuration word."""
        return {"ethos-u55": 0, "ethos-u65": 1, "ethos-u85": 2}[self.family]

    @property
    def lut_bank(self) -> int:
        """Bank in which lookup tables start: the last two."""
        return self.banks - 2

    @property
    def keeps_tables(self) -> bool:
        """Whether the banks of lookup tables are apart from those of accumulators."""
        return self.banks > 16

    @property
    def total_macs(self) -> int:
        return self.macs * self.cores


def _u85(macs: int) -> Device:
    return Device("ethos-u85", macs, 1, 0, 0, 0, "Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB")


DEVICES: dict[str, Device] = {
    "ethos-u55-128": Device("ethos-u55", 128, 1, 8, 8, 24, "Ethos_U55_High_End_Embedded"),
    "ethos-u55-32": Device("ethos-u55", 32, 1, 4, 8, 16, "Ethos_U55_High_End_Embedded"),
    "ethos-u55-64": Device("ethos-u55", 64, 1, 8, 8, 16, "Ethos_U55_High_End_Embedded"),
    "ethos-u55-256": Device("ethos-u55", 256, 1, 8, 8, 48, "Ethos_U55_High_End_Embedded"),
    "ethos-u65-256": Device("ethos-u65", 256, 1, 8, 8, 48, "Ethos_U65_High_End", "Dedicated_Sram_384KB"),
    "ethos-u65-512": Device("ethos-u65", 256, 2, 8, 8, 48, "Ethos_U65_High_End", "Dedicated_Sram_384KB"),
    **{f"ethos-u85-{macs}": _u85(macs) for macs in (128, 256, 512, 1024, 2048)},
}
"""Device part of a target → its variant; the first is the default."""


def device_of(target: Target) -> Device:
    """The variant of a target.

    Raises:
        TargetError: the variant or a feature is unknown.
    """
    return look_up(target, DEVICES)


def look_up(target: Target, known: Mapping[str, _Found]) -> _Found:
    """What a table of devices has for a target.

    Raises:
        TargetError: the device or a feature is unknown.
    """
    if target.device not in known:
        raise TargetError(f"there is no NPU '{target.device}'", fix=f"choose one of {', '.join(known)}")
    if target.features:
        raise TargetError(
            f"{target.device} has no feature '{target.features[0]}'", fix=f"use npu:{target.device}, without features"
        )
    return known[target.device]


def device_name(device: str, tier: Tier) -> str:
    """What runs a variant here, in words."""
    what = "command-stream emulator" if tier is Tier.EMULATED else "Arm's TOSA reference model"
    return f"{device} ({what})"
