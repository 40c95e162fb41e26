"""The launcher's use of HIP end to end: through ctypes, a real shared library, and the emulator behind it."""

from __future__ import annotations

import ctypes
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek_backend_rocm.devices.base import Call, DeviceError
from deepseek_backend_rocm.devices.gpu import GpuDevice
from deepseek_backend_rocm.devices.hip import found_devices, open_hip
from deepseek_backend_rocm.devices.interface import HIP, Library
from deepseek_backend_rocm.fake_hip import build, environment
from deepseek_backend_rocm.program import Image
from deepseek_backend_rocm.runtime import RocmExecutable
from deepseek_core import Tier
from deepseek_core.errors import BackendError

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")
X = np.arange(100, dtype=np.int32).reshape(4, 25) * 7


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("hip"))


@pytest.fixture
def library(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """A copy of the library, so that each test has a GPU of its own."""
    return loaded(built, tmp_path, monkeypatch, environment("gfx942"))


def loaded(built: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> Library:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Library(HIP, str(shutil.copy(built, folder / "libamdhip64.so")))


@pytest.fixture
def gpu(library: Library) -> Iterator[GpuDevice]:
    device = open_hip("gfx942", library)
    yield device
    device.close()


def test_device(library: Library) -> None:
    assert found_devices(library) == [("hip:0 (emulated gfx942)", "gfx942")]


def test_executable(gpu: GpuDevice, adder: Image) -> None:
    executable = RocmExecutable(adder, gpu)
    assert (executable.tier, executable.device) == (Tier.DEVICE, "hip:0 (emulated gfx942)")
    for factor in (1, -3):
        result = executable.run({"x": X * factor})["y"]
        assert np.array_equal(result, 2 * factor * X + np.arange(100).reshape(4, 25))
    seconds = executable.seconds(2)
    assert seconds is not None
    assert seconds > 0
    executable.close()
    executable.close()
    with pytest.raises(BackendError, match="closed"):
        executable.run({"x": X})


def test_graph_replays_what_was_captured(gpu: GpuDevice, adder_code: bytes) -> None:
    call, places = add_call(gpu, adder_code)
    recording = gpu.record([call, replace(call, arguments=arguments(places[2], places[1], places[2]))])
    recording.run()
    gpu.synchronise()
    assert np.array_equal(gpu.copy_out(places[2], 400).view(np.int32), X.ravel() + 2)
    recording.close()
    recording.close()


def add_call(gpu: GpuDevice, code: bytes) -> tuple[Call, list[int]]:
    """X + 1."""
    places = [gpu.allocate(400) for _ in range(3)]
    gpu.copy_in(places[0], X)
    gpu.copy_in(places[1], np.ones(100, np.int32))
    function = gpu.function(gpu.load(code), "add")
    return Call(function, (2, 1, 1), 64, 0, arguments(*places)), places


def arguments(*places: int) -> bytes:
    return struct.pack("<3QI4x", *places, 100)


def code_of(error: pytest.ExceptionInfo[DeviceError]) -> int | None:
    return error.value.code


def test_frees_once(gpu: GpuDevice) -> None:
    place = gpu.allocate(16)
    gpu.free(place)
    with pytest.raises(DeviceError, match=r"hipFree failed with error 1 \(invalid argument\)"):
        gpu.free(place)


@pytest.mark.parametrize("size", [17, 1 << 20])
def test_copies_stay_inside(gpu: GpuDevice, size: int) -> None:
    place = gpu.allocate(16)
    for copy in (lambda: gpu.copy_in(place, np.zeros(size, np.uint8)), lambda: gpu.copy_out(place, size)):
        with pytest.raises(DeviceError) as error:
            copy()
        assert code_of(error) == 1


def test_functions_end_with_their_module(gpu: GpuDevice, adder_code: bytes) -> None:
    module = gpu.load(adder_code)
    function = gpu.function(module, "add")
    gpu.unload(module)
    for use in (
        lambda: gpu.launch(Call(function, (1, 1, 1), 64, 0, bytes(32))),
        lambda: gpu.unload(module),
        lambda: gpu.function(module, "add"),
    ):
        with pytest.raises(DeviceError, match="invalid resource handle") as error:
            use()
        assert code_of(error) == 400


def test_unknown_function(gpu: GpuDevice, adder_code: bytes) -> None:
    with pytest.raises(DeviceError, match="named symbol not found"):
        gpu.function(gpu.load(adder_code), "subtract")


def test_images(gpu: GpuDevice, adder_code: bytes) -> None:
    with pytest.raises(DeviceError, match="image is invalid"):
        gpu.load(b"no code at all".ljust(64))
    other = bytearray(adder_code)
    other[48] = 0x41  # e_flags: gfx1100
    with pytest.raises(DeviceError) as error:
        gpu.load(bytes(other))
    assert code_of(error) in (200, 209)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"grid": (0, 1, 1)}, 9),
        ({"threads": 2048}, 9),
        ({"shared": 1 << 20}, 9),
        ({"arguments": bytes(24)}, 1),
        ({"arguments": bytes(40)}, 1),
    ],
)
def test_launches_fit_the_kernel(gpu: GpuDevice, adder_code: bytes, changes: dict[str, Any], code: int) -> None:
    function = gpu.function(gpu.load(adder_code), "add")
    with pytest.raises(DeviceError) as error:
        gpu.launch(replace(Call(function, (1, 1, 1), 64, 0, bytes(32)), **changes))
    assert code_of(error) == code


def test_arguments_need_their_end(gpu: GpuDevice, adder_code: bytes) -> None:
    """The list of extra arguments as CUDA ends it is refused."""
    call, _ = add_call(gpu, adder_code)
    gpu.library.names = replace(HIP, end=0)
    with pytest.raises(DeviceError) as error:
        gpu.launch(call)
    assert code_of(error) == 1


def test_faults_stay(gpu: GpuDevice, adder_code: bytes) -> None:
    """A kernel that writes out of bounds takes the context with it."""
    call, places = add_call(gpu, adder_code)
    gpu.free(places[2])
    with pytest.raises(DeviceError, match="illegal memory access"):
        gpu.launch(call)
    with pytest.raises(DeviceError, match="illegal memory access"):
        gpu.synchronise()


def test_a_lost_gpu(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adder: Image) -> None:
    """It is a clear error in each run that follows, and no obstacle to closing."""
    library = loaded(built, tmp_path, monkeypatch, environment("gfx942", lose_after=3))
    executable = RocmExecutable(adder, open_hip("gfx942", library))
    executable.run({"x": X})
    for _ in range(2):
        with pytest.raises(BackendError, match=r"hip\w+ failed with error 719 \(unspecified launch failure\)"):
            executable.run({"x": X})
    executable.close()


def test_a_runtime_that_dies(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = loaded(built, tmp_path, monkeypatch, {"DEEPSEEK_HIP_SERVER": "exit 1"})
    with pytest.raises(DeviceError, match="HIP does not start"):
        found_devices(library)


def test_no_gpu(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEEPSEEK_HIP_SERVER", raising=False)
    library = loaded(built, tmp_path, monkeypatch, {})
    assert found_devices(library) == []
    with pytest.raises(DeviceError, match="HIP finds no AMD GPU"):
        open_hip("gfx942", library)


def test_another_gpu(library: Library) -> None:
    with pytest.raises(DeviceError, match="there is no gfx1100 GPU here, but gfx942"):
        open_hip("gfx1100", library)


def test_streams_end_once(gpu: GpuDevice) -> None:
    stream = gpu.stream
    gpu.close()
    assert gpu.library.code("StreamDestroy", stream) == 400
    assert gpu.library.code("StreamSynchronize", ctypes.c_void_p(0x123450)) == 400
