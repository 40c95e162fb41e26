"""The shared buffer RAM: lookup tables in it, and whether an operation's buffers fit beside them.

Sizes are computed as `architecture_allocator.py` of ethos-u-vela does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.devices import Device
from deepseek_backend_npu.emulator.stream import HazardError

__all__ = ["BANK", "Tables", "check_layout"]

BANK = 1024
SLOT = 256
_OUTPUT_BANKS = 2
_SIZE = 2048


class Tables:
    """Lookup tables: 2 KiB that DMA fills."""

    def __init__(self, device: Device) -> None:
        self._start = max(device.lut_bank, 0) * BANK
        self._keeps = device.keeps_tables or device.banks == 0
        self._bytes = np.zeros(_SIZE, np.uint8)
        self._written = np.zeros(_SIZE, np.bool_)

    def store(self, address: int, data: NDArray[np.uint8]) -> None:
        """What DMA brings; addresses count from the start of the RAM."""
        offset = address - self._start
        if offset < 0 or offset + data.size > _SIZE:
            raise HazardError(f"DMA writes {data.size} bytes at {address:#x} of the buffer RAM, outside of its tables")
        self._bytes[offset : offset + data.size] = data
        self._written[offset : offset + data.size] = True

    def load(self, slot: int, size: int) -> NDArray[np.uint8]:
        """A table of `size` bytes from a slot of 256 bytes on."""
        return self.at(slot * SLOT, size)

    def at(self, start: int, size: int) -> NDArray[np.uint8]:
        """A table of `size` bytes from an address of the table RAM on."""
        if start + size > _SIZE:
            raise HazardError(f"the table at {start:#x} reaches beyond the lookup RAM")
        if not self._written[start : start + size].all():
            raise HazardError(f"looks up in the table at {start:#x}, which no DMA has filled")
        return self._bytes[start : start + size]

    def address(self, slot: int) -> int:
        return self._start + slot * SLOT

    def overwritten(self) -> None:
        """After an operation that uses no table: where banks are few, its accumulators take their place."""
        if not self._keeps:
            self._written[:] = False


def check_layout(
    device: Device,
    *,
    input_block: tuple[int, int, int],
    output_block: tuple[int, int, int],
    itemsize: int,
    accumulator_bits: int,
    registers: tuple[int, int, int | None],
    elementwise: bool,
    uses_table: bool,
) -> None:
    """Whether two buffers each for input and accumulators fit where the registers put them.

    Args:
        input_block, output_block: height, width, depth.
        registers: IB_END, AB_START, and IB_START of a second input that is no scalar.

    Raises:
        HazardError: they overlap, or reach into the tables.
    """
    input_end, accumulators, second = registers
    last = device.lut_bank if uses_table or device.keeps_tables else device.banks
    height, width, depth = input_block
    needed = 2 * _banks(height * width * _round_up(depth * itemsize, 8))
    if second is not None and (second < _OUTPUT_BANKS + needed or second + needed > input_end):
        raise HazardError("buffers of the two inputs overlap in the buffer RAM")
    if _OUTPUT_BANKS + needed > input_end:
        raise HazardError(f"input blocks need {needed} banks of buffer RAM and have {input_end - _OUTPUT_BANKS}")
    if elementwise:
        if input_end > last:
            raise HazardError("input blocks reach into the lookup tables")
        return
    if input_end > accumulators:
        raise HazardError("input blocks and accumulators overlap in the buffer RAM")
    height, width, depth = output_block
    needed = 2 * _banks(height * width * _round_up(depth, 8) * accumulator_bits // 8)
    if accumulators + needed > last:
        raise HazardError(f"accumulators need {needed} banks of buffer RAM and have {last - accumulators}")


def _banks(size: int) -> int:
    return -(-size // BANK)


def _round_up(value: int, to: int) -> int:
    return -(-value // to) * to
