"""Artifacts opened, and what is refused."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from deepseek_backend_rocm import probe as probing
from deepseek_backend_rocm.container import FORMAT, encode
from deepseek_backend_rocm.devices import hip
from deepseek_backend_rocm.devices.base import DeviceError
from deepseek_backend_rocm.devices.cuda import open_cuda
from deepseek_backend_rocm.devices.emulated import EmulatedDevice
from deepseek_backend_rocm.devices.interface import CUDA, HIP, Library
from deepseek_backend_rocm.program import Image, Launch, Pointer
from deepseek_backend_rocm.runtime import RocmExecutable, open_artifact
from deepseek_core import Artifact, Target, Tier
from deepseek_core.errors import BackendError, PackageError

TARGET = Target("rocm", "gfx942")
X = np.arange(100, dtype=np.int32).reshape(4, 25)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepseek_backend_rocm.runtime.gpus", lambda: ((), "the HIP runtime is not installed"))


def artifact(image: Image) -> Artifact:
    return Artifact(TARGET, encode(image), FORMAT, {}, report={})


@pytest.mark.usefixtures("no_gpu")
def test_emulated(adder: Image) -> None:
    executable = open_artifact(artifact(adder), None)
    assert (executable.tier, executable.device) == (Tier.EMULATED, "emulated gfx942")
    assert [info.name for info in (*executable.inputs, *executable.outputs)] == ["x", "y"]
    assert np.array_equal(executable.run({"x": X})["y"], 3 * X)
    assert executable.seconds() is None
    executable.close()
    executable.close()
    with pytest.raises(BackendError, match="the executable is closed; load the artifact again"):
        executable.run({"x": X})


@pytest.mark.usefixtures("no_gpu")
def test_devices(adder: Image) -> None:
    assert open_artifact(artifact(adder), "emulated gfx942").device == "emulated gfx942"
    with pytest.raises(BackendError, match="there is no device 'gpu'; use 'emulated gfx942', or name none"):
        open_artifact(artifact(adder), "gpu")


@pytest.mark.usefixtures("no_gpu")
def test_a_gpu_that_is_wanted_is_not_emulated(adder: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hip, "hip_library", lambda: Library(HIP, "/nowhere/libamdhip64.so"))
    with pytest.raises(BackendError, match=r"the HIP runtime \(libamdhip64.so\) is not installed; install ROCm's HIP"):
        open_artifact(artifact(adder), "hip")


@pytest.mark.usefixtures("no_gpu")
def test_other_artifacts(adder: Image) -> None:
    with pytest.raises(PackageError, match="does not run an artifact of format 'other' for rocm:gfx942"):
        open_artifact(replace(artifact(adder), format="other"), None)
    with pytest.raises(PackageError, match="the artifact has no code for gfx942, but for gfx1100"):
        open_artifact(artifact(replace(adder, programs={"gfx1100": adder.programs["gfx942"]})), None)
    with pytest.raises(PackageError):
        open_artifact(replace(artifact(adder), payload=b"nothing"), None)


def test_threads_take_turns(adder: Image) -> None:
    executable = RocmExecutable(adder, EmulatedDevice("gfx942"))
    wrong: list[int] = []

    def run(factor: int) -> None:
        for _ in range(5):
            if not np.array_equal(executable.run({"x": factor * X})["y"], 2 * factor * X + X):
                wrong.append(factor)

    threads = [threading.Thread(target=run, args=(factor,)) for factor in (1, 5, -3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def changed(image: Image, number: int, pointer: int, **changes: object) -> Image:
    """With another pointer in one launch."""
    program = image.programs["gfx942"]
    launches = list(program.launches)
    pointers = list(launches[number].pointers)
    pointers[pointer] = replace(pointers[pointer], **changes)  # type: ignore[arg-type]
    launches[number] = replace(launches[number], pointers=tuple(pointers))
    return replace(image, programs={"gfx942": replace(program, launches=tuple(launches))})


@pytest.mark.parametrize(
    ("number", "pointer", "changes", "pattern"),
    [
        (0, 2, {"bytes": 396}, "writes 4 bytes .* out of bounds: 4 bytes beyond the arena, 396 bytes"),
        (0, 2, {"writes": False}, "the arena at .* is read-only"),
        (0, 1, {"bytes": 64}, "beyond the constants, 64 bytes"),
        (0, 0, {"offset": 256}, "reads 4 bytes .* that were never written"),
        (1, 1, {"offset": 1024}, "reads 4 bytes .* that were never written"),
    ],
)
def test_launches_keep_to_their_ranges(
    adder: Image, number: int, pointer: int, changes: dict[str, object], pattern: str
) -> None:
    """A plan that is wrong about what a kernel reads or writes is found out, though nothing is beyond an allocation."""
    executable = RocmExecutable(changed(adder, number, pointer, **changes), EmulatedDevice("gfx942"))
    with pytest.raises(BackendError, match=pattern):
        executable.run({"x": X})


def test_the_arena_is_forgotten(adder: Image) -> None:
    """What one run left is not there in the next."""
    program = adder.programs["gfx942"]
    second: Launch = program.launches[1]
    only = replace(adder, programs={"gfx942": replace(program, launches=(second, program.launches[0]))})
    executable = RocmExecutable(only, EmulatedDevice("gfx942"))
    for _ in range(2):
        with pytest.raises(BackendError, match="that were never written"):
            executable.run({"x": X})


def test_code_for_another_gpu(adder: Image) -> None:
    other = replace(adder, programs={"gfx90a": adder.programs["gfx942"]})
    with pytest.raises(DeviceError, match="the code object is for gfx942, the device is emulated gfx90a"):
        RocmExecutable(other, EmulatedDevice("gfx90a"))
    assert isinstance(other.programs["gfx90a"].launches[0].pointers[0], Pointer)


def test_no_library() -> None:
    with pytest.raises(
        DeviceError, match=r"the CUDA runtime \(libcuda.so.1\) is not installed; install NVIDIA's driver"
    ):
        Library(CUDA, "/nowhere/libcuda.so")


def test_no_nvidia_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepseek_backend_rocm.devices.cuda.CUDA", replace(CUDA, files=("/nowhere/libcuda.so",)))
    with pytest.raises(DeviceError, match="is not installed"):
        open_cuda()


@pytest.mark.parametrize(
    ("present", "objdump", "expected"),
    [
        ((), "llvm-objdump-22", (True, Tier.EMULATED, ("emulated gfx942",))),
        ((), None, (False, Tier.EMULATED, ())),
        ((("hip:0 (card)", "gfx942"),), None, (True, Tier.DEVICE, ("hip:0 (card)",))),
        ((("hip:0 (card)", "gfx1100"),), "llvm-objdump-22", (True, Tier.EMULATED, ("emulated gfx942",))),
    ],
)
def test_probe(
    monkeypatch: pytest.MonkeyPatch,
    present: tuple[tuple[str, str], ...],
    objdump: str | None,
    expected: tuple[bool, Tier, tuple[str, ...]],
) -> None:
    monkeypatch.setattr(probing, "gpus", lambda: (present, "a word"))
    monkeypatch.setattr("deepseek_backend_rocm.emulator.disassembly.find_objdump", lambda: objdump)
    found = probing.probe(TARGET)
    assert (found.can_run, found.tier, found.devices) == expected
    assert ("llvm-objdump" in "".join(missing.what for missing in found.missing)) == (not found.can_run)


def test_probe_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "installed", lambda: None)
    found = probing.probe(TARGET)
    assert not found.can_compile
    assert any("triton" in missing.what and "pip install" in missing.fix for missing in found.missing)
