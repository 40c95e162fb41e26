"""Ethos-U85's own: the order of weights, the format without entropy coding, chained operations."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_backend_npu.devices import DEVICES
from deepseek_backend_npu.emulator import HazardError
from deepseek_backend_npu.emulator.feature_map import FeatureMap
from deepseek_backend_npu.emulator.hazards import Access, BlockTrace, Ordering
from deepseek_backend_npu.emulator.isa import Format
from deepseek_backend_npu.emulator.machine import program
from deepseek_backend_npu.emulator.memory import Memory
from deepseek_backend_npu.emulator.u85 import weights
from deepseek_backend_npu.emulator.u85.weights import Order, positions, scales_of
from deepseek_backend_npu.payload import parse
from deepseek_backend_npu.runtime import NpuExecutable
from deepseek_backend_npu.verification.mutation import KINDS, Judge, mutations

UNITS = {128: (8, 16), 256: (8, 16), 512: (16,), 1024: (16, 32), 2048: (16, 64)}


@st.composite
def orders(draw) -> Order:
    macs = draw(st.sampled_from(sorted(UNITS)))
    traversal = draw(st.sampled_from(["depthwise", "part first", "channels first"]))
    is_depthwise = traversal == "depthwise"
    return Order(
        macs=macs,
        outputs=draw(st.integers(1, 70)),
        inputs=1 if is_depthwise else draw(st.integers(1, 70)),
        kernel=(draw(st.integers(1, 9)), draw(st.integers(1, 9))),
        stride=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        dilation=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        block=16 * draw(st.integers(4, 8)),
        unit=draw(st.sampled_from(UNITS[macs])),
        wide=draw(st.booleans()),
        depthwise=is_depthwise,
        part_first=traversal == "part first",
        sparse=False,
        fast=False,
    )


@settings(max_examples=40, deadline=None)
@given(order=orders())
def test_every_weight_has_one_place_in_the_streams(order) -> None:
    places = np.concatenate([positions(order, stream) for stream in range(order.streams)])
    count = order.outputs * order.kernel[0] * order.kernel[1] * order.inputs
    np.testing.assert_array_equal(np.sort(places[places >= 0]), np.arange(count))
    lengths = {len(positions(order, stream)) for stream in range(order.streams)}
    assert len(lengths) == 1, "the streams are read beside each other"


def _stream(body: np.ndarray, bits: int, *, raw: bool = False, small: bool = False, adjust: int = 0) -> bytes:
    header = np.zeros(256, np.uint8)
    header[0], header[1] = raw, small
    header[104:112] = np.unpackbits(np.array([adjust], np.int8).view(np.uint8), bitorder="little")
    for place, value in enumerate([0, -1, 5, -255, 255]):
        folded = abs(value) << 1 | (value < 0)
        header[112 + 9 * place : 121 + 9 * place] = [folded >> bit & 1 for bit in range(9)]
    packed = [number >> bit & 1 for number in body.tolist() for bit in range(bits)]
    return np.packbits(np.concatenate([header, np.array(packed, np.uint8)]), bitorder="little").tobytes()


def test_weights_without_entropy_coding() -> None:
    places = np.array([4, 3, 2, 1, 0, 1, 2, 3])
    assert weights._fast(_stream(places, 4)).tolist() == [255, -255, 5, -1, 0, -1, 5, -255]
    assert weights._fast(_stream(places & 3, 2, small=True)).tolist() == [0, -255, 5, -1, 0, -1, 5, -255]
    assert weights._fast(_stream(np.array([0, 127, 128, 255]), 8, raw=True, adjust=-3)).tolist() == [3, 130, -125, 2]
    with pytest.raises(HazardError, match="header"):
        weights._fast(b"short")


def test_records_of_scales_are_wider_where_sums_are() -> None:
    narrow = np.array([[0xFE, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0x40, 33, 0]], np.uint8).reshape(-1)
    found = scales_of(narrow, 1, wide=False)
    assert (found.bias.tolist(), found.scale.tolist(), found.shift.tolist()) == ([-2], [0x4000_0001], [33])
    wide = np.array([[1, 0, 0, 0, 0, 0x80, 0xFF, 0x7F, 40, 0]], np.uint8).reshape(-1)
    found = scales_of(wide, 1, wide=True)
    assert (found.bias.tolist(), found.scale.tolist(), found.shift.tolist()) == ([1 - (1 << 47)], [0x7FFF], [40])


@pytest.fixture(scope="module")
def u85(compiled, network):
    return compiled(network, "ethos-u85-1024", every_tensor=True)


def test_programs_with_one_thing_wrong_are_noticed_or_proven_to_be_none(u85) -> None:
    judge = Judge(u85)
    for kind in KINDS:
        chosen = [m for m, _ in zip(mutations(u85, kind, np.random.default_rng(0)), range(12), strict=False)]
        missed = [mutation.place for mutation in chosen if judge.judge(mutation).missed]
        assert chosen
        assert not missed, kind


@pytest.mark.parametrize(
    ("register", "bit", "said"),
    [("ACC_FORMAT", 6, "accumulators"), ("OFM_PRECISION", 9, "reversed"), ("ACTIVATION", 1, "Lookup")],
)
def test_what_is_not_emulated_is_refused_by_name(u85, register, bit, said) -> None:
    device, payload = DEVICES["ethos-u85-1024"], parse(u85.payload)
    number = next(n for n, name in _names().items() if name == register)
    words = payload.stream.copy()
    place = next(p for p, word in enumerate(words) if int(word) & 0xFFFF == number)
    words[place] ^= 1 << 16 + bit
    with pytest.raises(HazardError, match=said):
        program(device, replace(payload, stream=words))


def _names() -> dict[int, str]:
    from deepseek_backend_npu.emulator.u85 import U85

    return dict(U85.registers)


def test_a_chain_counts_as_one_operation() -> None:
    """A transfer over what the first of a chain reads must wait, until the chain has ended."""
    memory, ordering = Memory({1: 64}, {}), Ordering(4, 2)
    output = FeatureMap(1, np.dtype(np.int8), Format.NHWC, (32, 0, 0, 0), (1, 1, 1), (1, 1, 1), (1, 1, 1), 0)
    ordering.operation((Access(1, 0, 8, writes=False),), BlockTrace((), (1, 1, 1), None, (1, 1, 1)), 0, memory)
    ordering.operation((Access(1, 32, 33, writes=True),), BlockTrace((), (1, 1, 1), output, (1, 1, 1)), 0, memory)
    with pytest.raises(HazardError, match="KERNEL_WAIT"):
        ordering.transfer([Access(1, 4, 12, writes=True)])
    ordering.wait_operations(0)
    ordering.transfer([Access(1, 4, 12, writes=True)])


def test_a_payload_of_another_variant_is_refused(u85) -> None:
    with pytest.raises(Exception, match="other hardware"):
        NpuExecutable(replace(u85, device="ethos-u85-512"))
