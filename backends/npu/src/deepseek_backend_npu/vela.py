"""Arm's compiler, called in this process: a TOSA graph in, a register command stream and its memory out.

`ethosu.regor` is the C++ core of Vela. Its cycle and memory figures are estimates of its own performance model.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepseek_backend_npu.devices import SYSTEMS, Device
from deepseek_backend_npu.settings import Settings
from deepseek_backend_npu.versions import COMPILER_FIX
from deepseek_core.errors import BackendError

__all__ = ["Compiled", "Estimate", "Placed", "compile_graph"]

_ALIGNMENT = 16
_CACHE_SIZES = {"Dedicated_Sram_256KB": 256, "Dedicated_Sram_384KB": 384, "Dedicated_Sram_512KB": 512}
_ADDRESS_BITS = {"ethos-u55": 32, "ethos-u65": 48, "ethos-u85": 48}


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the program expects or leaves a tensor.

    Attributes:
        region: base address register.
        address: bytes from the region's base.
        size: bytes.
    """

    region: int
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """The compiler's own figures, from its performance model and not from hardware.

    Attributes:
        cycles: whole network, NPU and memory transfers overlapped.
        npu_cycles: NPU alone.
        seconds: `cycles` at the system's clock.
        macs: multiply-accumulates.
        traffic: bytes read and written by memory.
        peak: bytes in use at most by memory.
        operations: NPU operations.
    """

    cycles: int
    npu_cycles: int
    seconds: float
    macs: int
    traffic: Mapping[str, int] = field(default_factory=dict)
    peak: Mapping[str, int] = field(default_factory=dict)
    operations: int = 0

    @property
    def sram(self) -> int:
        """Peak bytes of on-chip memory."""
        return self.peak.get("Sram", 0)


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the compiler built.

    Attributes:
        payload: driver actions with the command stream inside.
        constants: read-only bytes, region 0.
        scratch: bytes of the tensor arena, region 1.
        scratch_fast: bytes of the fast arena, region 2.
        inputs, outputs: in the order of the graph's.
        estimate: the compiler's figures.
    """

    payload: bytes
    constants: bytes
    scratch: int
    scratch_fast: int
    inputs: tuple[Placed, ...]
    outputs: tuple[Placed, ...]
    estimate: Estimate


def compile_graph(tosa: bytes, device: Device, settings: Settings) -> Compiled:
    """Compile a serialized TOSA graph.

    Raises:
        BackendError: the compiler is missing, or refuses the graph.
    """
    try:
        from ethosu import regor
    except ImportError:
        raise BackendError("the Ethos-U compiler is not installed", fix=COMPILER_FIX) from None
    system, options = _system(device, settings), _options(device, settings)
    try:
        model = regor.compile(device.accelerator, tosa, "TOSA", system, options)
    except RuntimeError as error:
        raise BackendError(
            f"Vela cannot compile this part ({_one_line(error)})", fix="place the units it names on another target"
        ) from error
    return Compiled(
        bytes(model.command_stream),
        bytes(model.read_only.data),
        int(model.scratch.size),
        int(model.scratch_fast.size),
        tuple(_placed(tensor) for tensor in model.inputs),
        tuple(_placed(tensor) for tensor in model.outputs),
        _estimate(model.perf_report, settings),
    )


def _system(device: Device, settings: Settings) -> str:
    chosen = (
        f"[architecture]\nmacs={device.macs}\ncores={device.cores}\n"
        f"[vela]\nsystem_config_name={settings.system}\nmemory_mode_name={settings.memory}\n"
    )
    return chosen + _configuration()


@functools.cache
def _configuration() -> str:
    import ethosu.vela

    (folder,) = ethosu.vela.__path__
    return (Path(folder).parent / "config_files" / "Arm" / "vela.ini").read_text(encoding="utf-8")


def _options(device: Device, settings: Settings) -> str:
    off = []
    if settings.cascading == "off":
        off.append("Cascading")
    if settings.buffering == "off":
        off.append("WeightBuffering")
    limit = settings.sram or _CACHE_SIZES.get(settings.memory, 0) * 1024 or (1 << _ADDRESS_BITS[device.family])
    return (
        "\n[compiler]\noutput_format=Raw\ncop_format=COP1\n\n"
        f"[scheduler]\noptimize={settings.optimize.capitalize()}\narena_size_limit={limit}\n"
        f"disable_feature={'|'.join(off)}\ncpu_tensor_alignment={_ALIGNMENT}\n\n[graph]\n"
    )


def _placed(tensor: Any) -> Placed:
    return Placed(int(tensor.region), int(tensor.address), int(tensor.size))


def _estimate(report: Any, settings: Settings) -> Estimate:
    cycles = int(report.totalCycles)
    on_chip = {"shram", "lutram"}
    memories = {name: memory for name, memory in report.memories.items() if name not in on_chip}
    return Estimate(
        cycles,
        int(report.npuCycles),
        cycles / SYSTEMS[settings.system].clock,
        int(report.macCount),
        {n: sum(int(a.bytesRead) + int(a.bytesWritten) for a in m.accesses.values()) for n, m in memories.items()},
        {name: int(memory.peakUsage) for name, memory in memories.items()},
        int(report.npuOps),
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__
