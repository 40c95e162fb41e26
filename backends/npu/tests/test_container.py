"""The artifact: what goes in comes out, and nothing damaged comes in."""

from dataclasses import replace

import numpy as np
import pytest

from deepseek_backend_npu.container import Container
from deepseek_backend_npu.payload import parse
from deepseek_backend_npu.runtime import NpuExecutable
from deepseek_core.errors import DeepseekError, PackageError


def test_an_artifact_survives_the_trip(program, network, random_feeds) -> None:
    data = program.encode()
    copy = Container.decode(data)
    assert copy.encode() == data
    feeds = random_feeds(network)
    for name, array in NpuExecutable(program).run(feeds).items():
        np.testing.assert_array_equal(NpuExecutable(copy).run(feeds)[name], array)


def test_every_damaged_byte_is_noticed(program) -> None:
    data = program.encode()
    rng = np.random.default_rng(0)
    for position in [*range(64), *rng.integers(64, len(data), 100)]:
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises(PackageError):
            Container.decode(bytes(damaged))


def test_every_cut_is_noticed(program) -> None:
    data = program.encode()
    for size in (0, 3, 15, 16, 100, len(data) - 1):
        with pytest.raises(PackageError):
            Container.decode(data[:size])


def test_another_version_is_refused_by_number(program) -> None:
    data = bytearray(program.encode())
    data[4] = 9
    with pytest.raises(PackageError, match="format 9, this backend reads 1"):
        Container.decode(bytes(data))


def test_the_payload_is_what_the_driver_reads(program) -> None:
    payload = parse(program.payload)
    assert (payload.macs, payload.product, payload.shram) == (128, 0, 24)
    assert program.payload[:4] == b"COP1"
    assert int(payload.stream[-1]) & 0x3FF == 0, "the stream ends with STOP"


@pytest.mark.parametrize("cut", [4, 8, 40])
def test_a_cut_payload_is_refused(program, cut) -> None:
    with pytest.raises(PackageError):
        parse(program.payload[:-cut])


def test_a_payload_for_other_hardware_is_refused(program) -> None:
    with pytest.raises(PackageError, match="other hardware"):
        NpuExecutable(replace(program, device="ethos-u55-256"))


def test_corrupt_weights_give_one_error_and_the_next_run_works(program, network, random_feeds) -> None:
    """Arm's decoder ends its process on them: it is the child's."""
    feeds = random_feeds(network)
    broken = replace(program, constants=bytes(255 - byte for byte in program.constants))
    with pytest.raises(DeepseekError) as caught:
        NpuExecutable(broken).run(feeds)
    assert "\n" not in str(caught.value)
    assert NpuExecutable(program).run(feeds)
