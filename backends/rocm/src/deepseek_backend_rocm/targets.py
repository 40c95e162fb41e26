"""The GPUs this backend builds for, and what of each matters here."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek_core import Target
from deepseek_core.errors import TargetError

__all__ = ["ARCHITECTURES", "CHECK", "GPUS", "LAUNCH", "TARGETS", "Gpu", "gpu_of"]

LAUNCH = 5e-6
"""Seconds that a kernel launch costs the device, of the order that vendors give for graph launches."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """An architecture, with the figures of a card that has it.

    Attributes:
        name: as `-mcpu` has it.
        card: whose figures these are.
        wave: lanes of a wavefront.
        matrix: what every instruction that multiplies int8 matrices starts with.
        units: compute units.
        clock: highest engine clock, Hz.
        int8, float16, float32: multiply-accumulates that a compute unit does in one cycle.
        bandwidth: bytes per second of its memory.
        simds: SIMDs of a compute unit.
        registers: vector registers of a SIMD, in those of one lane.
        most_registers: vector registers that one wavefront can have.
        waves: wavefronts that a SIMD holds at most.
        lds: bytes of local memory of a workgroup processor or compute unit; one workgroup has at most `group_lds`.
        group_lds: bytes of local memory that one workgroup can have.
    """

    name: str
    card: str
    wave: int
    matrix: str
    units: int
    clock: float
    int8: int
    float16: int
    float32: int
    bandwidth: float
    simds: int
    registers: int
    most_registers: int
    waves: int
    lds: int
    group_lds: int = 65536

    @property
    def peak_macs(self) -> float:
        """Multiply-accumulates of int8 in a second."""
        return self.units * self.int8 * self.clock


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("gfx90a", "Instinct MI210", 64, "v_mfma_i32_", 104, 1.7e9, 512, 512, 128, 1.6e12, 4, 512, 512, 8, 65536),
        Gpu("gfx942", "Instinct MI300X", 64, "v_mfma_i32_", 304, 2.1e9, 2048, 1024, 128, 5.3e12, 4, 512, 512, 8, 65536),
        Gpu(
            "gfx950",
            "Instinct MI355X",
            64,
            "v_mfma_i32_",
            256,
            2.4e9,
            4096,
            2048,
            128,
            8e12,
            4,
            512,
            512,
            8,
            163840,
            163840,
        ),
        Gpu("gfx1030", "Radeon RX 6900 XT", 32, "v_dot4", 80, 2.25e9, 256, 128, 64, 5.12e11, 2, 1024, 256, 16, 131072),
        Gpu(
            "gfx1100",
            "Radeon RX 7900 XTX",
            32,
            "v_wmma_i32_",
            96,
            2.5e9,
            256,
            256,
            64,
            9.6e11,
            2,
            1536,
            256,
            16,
            131072,
        ),
        Gpu(
            "gfx1201",
            "Radeon RX 9070 XT",
            32,
            "v_wmma_i32_",
            64,
            2.97e9,
            1024,
            512,
            64,
            6.4e11,
            2,
            1536,
            256,
            16,
            131072,
        ),
    )
}
"""By the device's name in a target. Clock and bandwidth: data sheets of the cards. Units and LDS of the Instinct cards:
"Accelerator and GPU hardware specifications" in ROCm's documentation. Registers: bytes of a compute unit that ROCm's
libhsakmt knows (`hsakmt_get_vgpr_size_per_cu`: 512, 384 or 256 KiB). Waves: LLVM's `AMDGPUBaseInfo`. Rates follow from
the cycles of matrix instructions, see `selection/model.py`."""

CHECK = Gpu("sm_90", "NVIDIA H100", 32, "", 132, 1.755e9, 4096, 2048, 512, 3.35e12, 4, 65536, 255, 16, 233472, 232448)
"""Kernels compiled for an NVIDIA GPU check their logic on silicon where no AMD GPU is; it is no target."""

ARCHITECTURES = {**GPUS, CHECK.name: CHECK}
"""Everything that an artifact may hold code for."""

TARGETS = tuple(Target("rocm", name) for name in GPUS)


def gpu_of(target: Target) -> Gpu:
    """The GPU of a target.

    Raises:
        TargetError: there is none, or it has features.
    """
    if target not in TARGETS:
        raise TargetError(f"the rocm backend has no target '{target}'", fix=f"it has {', '.join(map(str, TARGETS))}")
    return GPUS[target.device]
