"""Mutants that break the contract when they run: devices, threads, buffers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core import (
    Artifact,
    Availability,
    Executable,
    Expectations,
    Missing,
    Rounding,
    Target,
    Tolerance,
    hookimpl,
)
from deepseek_core.ir import TensorInfo
from deepseek_core.target import Tier

from .base import Arrays, Faithful, Running, mutant

__all__: list[str] = []


class _Wrapping(Faithful):
    """Gives another executable than it opened."""

    wrapper: type[Running]

    def opened(self, executable: Executable, artifact: Artifact) -> Executable:
        return self.wrapper(executable)


def _executable(pattern: str) -> Callable[[type[Running]], type[Running]]:
    """Register a mutant by the executable it gives."""

    def add(wrapper: type[Running]) -> type[Running]:
        mutant(pattern)(type(wrapper.__name__, (_Wrapping,), {"wrapper": wrapper}))
        return wrapper

    return add


@_executable("contract/device/device")
class RunsElsewhere(Running):
    """The silent CPU fallback: the runtime says where it ran, nobody looked."""

    device = "CPUExecutionProvider"  # type: ignore[assignment]


@_executable("contract/device/tier")
class UpgradesItsTier(Running):
    tier = Tier.DEVICE  # type: ignore[assignment]


@_executable("contract/device/*")
class FallsBackWhileRunning(Running):
    ran = False

    @property
    def device(self) -> str:
        return "CPUExecutionProvider" if self.ran else "numpy"

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        self.ran = True
        return super().run(feeds)


@mutant("contract/device/unknown_device_refused")
class FallsBackFromUnknownDevice(Faithful):
    @hookimpl
    def deepseek_load(self, artifact: Artifact, device: str | None) -> Executable:
        return super().deepseek_load(artifact, None)


@mutant("contract/device/absent_device_refused")
class RunsWithoutItsDevice(Faithful):
    @hookimpl
    def deepseek_probe(self, target: Target) -> Availability:
        missing = (Missing("an accelerator", "plug one in"),)
        return replace(super().deepseek_probe(target), can_run=False, missing=missing)


@mutant("contract/device/declared_numerics_shown")
class DeclaresNumericsOfAnotherDevice(Faithful):
    """What runs is the reference, though the device it stands for would round otherwise."""

    @hookimpl
    def deepseek_expectations(self, target: Target) -> Expectations:
        return Expectations(Tolerance(lsb=1), rounding=Rounding.HALF_AWAY)


@_executable("contract/run/deterministic")
class AddsNoise(Running):
    calls = 0

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        self.calls += 1
        return {name: array + array.dtype.type(self.calls % 2) for name, array in super().run(feeds).items()}


@_executable("contract/run/threads")
class SharesItsInputBuffer(Running):
    """One feed buffer for all threads."""

    def __init__(self, inner: Executable) -> None:
        super().__init__(inner)
        self.feeds: Arrays = {}

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        self.feeds = feeds
        threading.Event().wait(1e-4)
        return super().run(self.feeds)


@_executable("contract/run/feeds_unchanged")
class WritesIntoItsFeeds(Running):
    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        results = super().run(feeds)
        for array in feeds.values():
            if array.flags.writeable:
                array[...] = 0
        return results


@_executable("contract/run/read_only_feeds")
class NeedsWritableFeeds(Running):
    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        for array in feeds.values():
            array[...] = array.copy()
        return super().run(feeds)


@_executable("contract/run/strided_feeds")
class ReadsFeedsAsIfContiguous(Running):
    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        bases = {name: array if array.flags.c_contiguous else array.base for name, array in feeds.items()}
        flat = {
            name: np.ascontiguousarray(base).reshape(-1)[: feeds[name].size].reshape(feeds[name].shape)
            for name, base in bases.items()
        }
        return super().run(flat)


@_executable("contract/run/outputs_kept")
class ReusesItsOutputBuffers(Running):
    def __init__(self, inner: Executable) -> None:
        super().__init__(inner)
        self.buffers: dict[str, NDArray[Any]] = {}

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        for name, array in super().run(feeds).items():
            self.buffers.setdefault(name, array)[...] = array
        return dict(self.buffers)


@_executable("contract/run/close")
class ClosesOnce(Running):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise RuntimeError("double free")
        self.closed = True


@_executable("contract/run/run_after_close")
class RunsOnFreedMemory(Running):
    closed = False

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        results = super().run(feeds)
        return {name: np.zeros_like(array) for name, array in results.items()} if self.closed else results

    def close(self) -> None:
        self.closed = True


@_executable("contract/run/two_executables")
class SharesOneContext(Running):
    closed = False

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        if SharesOneContext.closed:
            raise RuntimeError("context is destroyed")
        return super().run(feeds)

    def close(self) -> None:
        SharesOneContext.closed = True


@_executable("contract/run/interface")
class RenamesItsOutputs(Running):
    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return tuple(replace(info, name=f"{info.name}:0") for info in self.inner.outputs)


@_executable("numerics/Conv/*/mixed")
class GivesOtherOutputs(Running):
    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        return {f"{name}:0": array for name, array in super().run(feeds).items()}


@_executable("numerics/Conv/*/mixed")
class GivesReinterpretedCodes(Running):
    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        return {n: a.view(np.int8) if a.dtype == np.uint8 else a for n, a in super().run(feeds).items()}


@_executable("numerics/Conv/*/single_element")
class SqueezesItsOutputs(Running):
    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        return {name: np.squeeze(array) for name, array in super().run(feeds).items()}


@_executable("numerics/*/zero_batch")
class CrashesOnEmptyBatches(Running):
    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        if any(array.size == 0 for array in feeds.values()):
            raise ZeroDivisionError("division by zero")
        return super().run(feeds)


@_executable("numerics/*/dynamic_batch")
class KeepsTheFirstBatchSize(Running):
    size: int | None = None

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        first = next(iter(feeds.values()))
        self.size = self.size or len(first)
        return super().run({name: array[: self.size] for name, array in feeds.items()})
