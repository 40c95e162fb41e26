"""The command stream: hazards of programs that no compiler would write."""

import numpy as np
import pytest

from deepseek_backend_npu.emulator.feature_map import Box, FeatureMap
from deepseek_backend_npu.emulator.hazards import BUFFER_RAM, Access, Ordering
from deepseek_backend_npu.emulator.isa import Format, Round
from deepseek_backend_npu.emulator.memory import Memory
from deepseek_backend_npu.emulator.scaling import rescale, wrap
from deepseek_backend_npu.emulator.stream import HazardError, decode


def _memory(size: int = 256) -> Memory:
    return Memory({1: size}, {0: np.zeros(16, np.uint8)})


def test_registers_keep_their_values_until_they_are_set_again() -> None:
    stream = np.array([0x0005_0104, 0x0002, 0x0007_0104, 0x0002, 0x0000], np.uint32)
    first, second, stop = decode(stream)
    assert (first.registers["IFM_DEPTH_M1"], second.registers["IFM_DEPTH_M1"]) == (5, 7)
    assert stop.opcode.name == "STOP"


def test_wide_registers_have_a_payload_and_a_parameter() -> None:
    (stop,) = decode(np.array([0x0026_4024, 0x8000_0000, 0], np.uint32))
    assert stop.registers["OFM_SCALE"] == 0x8000_0000
    assert stop.registers.upper("OFM_SCALE") == 0x26


@pytest.mark.parametrize("words", [[], [0x0002], [0x03FF, 0], [0x4024], [0x8002, 0]])
def test_streams_that_are_none_are_hazards(words) -> None:
    with pytest.raises(HazardError):
        decode(np.array(words, np.uint32))


def test_a_register_that_was_never_set_is_a_hazard() -> None:
    (step, _) = decode(np.array([0x0002, 0], np.uint32))
    with pytest.raises(HazardError, match="IFM_REGION"):
        step.registers["IFM_REGION"]


def test_memory_that_was_never_written_is_a_hazard() -> None:
    memory = _memory()
    memory.store(1, 0, np.arange(10, dtype=np.uint8))
    assert memory.load(1, 2, 3).tolist() == [2, 3, 4]
    with pytest.raises(HazardError, match="never written"):
        memory.load(1, 8, 4)
    memory.copy((1, 4), (1, 100), 10)
    with pytest.raises(HazardError, match="never written"):
        memory.load(1, 100, 10)


@pytest.mark.parametrize("act", [lambda m: m.load(1, 250, 10), lambda m: m.load(5, 0, 1), lambda m: m.load(1, -4, 2)])
def test_memory_ends_where_it_ends(act) -> None:
    with pytest.raises(HazardError):
        act(_memory())


def test_constants_are_read_only() -> None:
    with pytest.raises(HazardError, match="read-only"):
        _memory().store(0, 0, np.zeros(1, np.uint8))


@pytest.mark.parametrize("layout", [Format.NHWC, Format.NHCWB16])
def test_a_feature_map_comes_back_from_its_tiles(layout) -> None:
    """Two tiles: rows from 2 on lie elsewhere, as in a rolling buffer."""
    height, width, depth = 3, 4, 20
    y = width * 32 if layout is Format.NHCWB16 else width * depth
    strides = (y, 16 if layout is Format.NHCWB16 else depth, width * 16)
    shape = (height, width, depth)
    tile = (2, 2, width)
    fm = FeatureMap(1, np.dtype(np.int8), layout, (1024, 0, 0, 0), tile, strides, shape, 0)
    memory = Memory({1: 4096}, {})
    values = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    fm.write(memory, values)
    np.testing.assert_array_equal(fm.read(memory), values)
    marks = memory.marks(1)
    fm.mark(marks, Box((2, 3), (0, 4), (0, 20)), 1)
    assert fm.marked(marks, Box((0, 2), (0, 4), (0, 20))) == 0
    assert fm.marked(marks, Box((1, 3), (3, 4), (19, 20))) == 1


def test_a_transfer_must_be_waited_for() -> None:
    ordering = Ordering(1, 2)
    ordering.transfer([Access(0, 0, 64, writes=False), Access(1, 0, 64, writes=True)])
    with pytest.raises(HazardError, match="DMA_WAIT"):
        ordering.transfer([Access(1, 32, 40, writes=False), Access(1, 128, 136, writes=True)])
    ordering.wait_transfers(0)
    ordering.transfer([Access(1, 32, 40, writes=False), Access(1, 128, 136, writes=True)])


def test_only_so_many_transfers_are_outstanding() -> None:
    ordering = Ordering(1, 2)
    ordering.transfer([Access(1, 0, 64, writes=True)])
    ordering.transfer([Access(BUFFER_RAM, 0, 64, writes=True)])
    ordering.transfer([Access(1, 0, 64, writes=True)])


def test_two_reads_do_not_conflict() -> None:
    assert not Access(1, 0, 8, writes=False).conflicts(Access(1, 0, 8, writes=False))
    assert Access(1, 0, 8, writes=False).conflicts(Access(1, 7, 9, writes=True))
    assert not Access(1, 0, 8, writes=True).conflicts(Access(1, 8, 9, writes=True))


@pytest.mark.parametrize(
    ("mode", "values"),
    [
        (Round.NATURAL, [2, 1, 1, 0, 0, -1, -1]),
        (Round.TRUNCATE, [1, 1, 0, 0, 0, -1, -1]),
        (Round.DOUBLE, [2, 1, 1, 0, 0, -1, -1]),
    ],
)
def test_halves_are_rounded_as_the_mode_says(mode, values) -> None:
    """3/2, 1, 1/2, 0, -1/2, -1, -3/2: scale 2^30 with a shift of 31 is a half."""
    sums = np.array([3, 2, 1, 0, -1, -2, -3], np.int64)
    assert rescale(sums, 1 << 30, 31, mode).tolist() == values


@pytest.mark.parametrize("mode", list(Round))
def test_exact_and_fast_scaling_agree(mode) -> None:
    rng = np.random.default_rng(0)
    sums = rng.integers(-(1 << 31), 1 << 31, 200)
    scales, shifts = rng.integers(1 << 29, (1 << 31) - 1, 200), rng.integers(31, 60, 200)
    fast = rescale(sums >> 2, scales, shifts, mode)
    slow = [
        int(rescale(np.array([s]), int(m), int(h), mode)[0]) for s, m, h in zip(sums >> 2, scales, shifts, strict=True)
    ]
    assert fast.tolist() == slow


def test_products_of_more_than_64_bits_are_exact() -> None:
    rng = np.random.default_rng(0)
    sums, scales, shifts = (rng.integers(*ends, 300) for ends in ((-(1 << 40), 1 << 40), (1 << 29, 1 << 31), (21, 60)))
    exact = [(int(v) * int(m) + (1 << int(s) >> 1)) >> int(s) for v, m, s in zip(sums, scales, shifts, strict=True)]
    assert rescale(sums, scales, shifts, Round.NATURAL).tolist() == exact


def test_accumulators_wrap() -> None:
    assert wrap(np.array([1 << 31, -(1 << 31) - 1]), 32).tolist() == [-(1 << 31), (1 << 31) - 1]
