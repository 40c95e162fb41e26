"""Measured times of the matrix kernels: on an ARM64 machine, kept in the tuning cache of the user."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_arm.container import Container
from deepseek_backend_arm.plan.memory import plan_memory
from deepseek_backend_arm.plan.program import Buffer, Port, Program
from deepseek_backend_arm.selection.product import Product
from deepseek_backend_arm.targets import LEVELS
from deepseek_backend_arm.toolchain import installed, is_arm
from deepseek_core.selection import TuningCache, cache_folder, measure

__all__ = ["timed"]

_ROUNDS, _BUDGET = 9, 0.1
_PANEL, _BLOCKS = 4, 32
"""Channels and codes of a flag of `lowering.weights.tight`."""


def timed(product: Product, level: str, names: Sequence[str], threads: int) -> Mapping[str, float]:
    """Seconds of each kernel on this machine; empty where it is no ARM64 machine of this instruction set.

    Measured once for each product, CPU, runtime and number of threads.
    """
    if not is_arm() or installed() is None or level != _own_level():
        return {}
    cache, context = _cache(cache_folder() / "arm-tuning.json"), _context(threads)
    known = cache.get(context, product.signature)
    if not all(name in known for name in names):
        if len(names) == 1:
            return {}
        cache.put(context, product.signature, _measured(product, names, threads))
        cache.save()
        known = cache.get(context, product.signature)
    return {name: known[name] for name in names}


def _measured(product: Product, names: Sequence[str], threads: int) -> Mapping[str, float]:
    from deepseek_backend_arm.build import runtime_folder
    from deepseek_backend_arm.native import library_for

    library = library_for(runtime_folder())
    slots = {name: library.load(_program(product, name, threads)) for name in names}
    try:
        runners: dict[str, Callable[[], object]] = {n: functools.partial(library.execute, s) for n, s in slots.items()}
        return measure(runners, rounds=_ROUNDS, budget=_BUDGET, threads=threads)
    finally:
        for slot in slots.values():
            library.free(slot)


def _program(product: Product, name: str, threads: int) -> Container:
    """A product with random weights of the same kind, by one kernel."""
    from deepseek_backend_arm.lowering.emitter import Emitter
    from deepseek_backend_arm.lowering.sums import Codes, CodeSums, convolve
    from deepseek_backend_arm.settings import Settings
    from deepseek_core.lowering import Axis

    weights = _weights(product)
    scale = np.full(len(weights), 2.0**-12, np.float32)
    sums = CodeSums(weights[..., None], np.zeros(len(weights), np.int64), scale, 0, Codes(0, -128, 127))
    emitter = Emitter(Settings(threads, name))
    x = emitter.new("int8", (1, product.depth * product.groups, product.positions), (0, 2, 1))
    y = convolve(emitter, x, [Axis(product.positions, product.positions)], product.groups, sums)
    assert isinstance(y.memory, Buffer)
    port = Port("y", "int8", y.shape, y.memory)
    plan = plan_memory(emitter.steps, [], [port])
    scratch = max(step.scratch for step in emitter.steps)
    packs, data = emitter.constants.packs, emitter.constants.data()
    return Container.of(
        Program((), (port,), emitter.steps, data, packs, plan.arena, scratch), platform.machine(), 0, threads
    )


def _weights(product: Product) -> NDArray[np.int8]:
    """[channels of all groups, depth]: random, small in as many blocks as the product has tight ones."""
    rng = np.random.default_rng(0)
    shape = (product.channels * product.groups, product.depth)
    panels = rng.random((-(-shape[0] // _PANEL), -(-shape[1] // _BLOCKS))) < product.tight
    small = panels.repeat(_PANEL, 0).repeat(_BLOCKS, 1)[: shape[0], : shape[1]]
    return np.where(small, rng.integers(-60, 61, shape), rng.integers(-127, 128, shape)).astype(np.int8)


@functools.cache
def _own_level() -> str:
    """Best instruction set of this machine, as `ds_cpu` of the runtime has it."""
    from deepseek_backend_arm.build import runtime_folder
    from deepseek_backend_arm.native import library_for

    return LEVELS[library_for(runtime_folder()).level]


def _context(threads: int) -> str:
    """What measurements hold for."""
    from deepseek_backend_arm.build import runtime_folder

    return f"{_cpu_name()} [{_own_level()}], runtime {runtime_folder().name}, {threads} threads"


@functools.cache
def _cpu_name() -> str:
    """Implementer and part of the core, as Linux has them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    found = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    known = {name.strip(): value.strip() for name, value in found.items()}
    words = [known[name] for name in ("CPU implementer", "CPU part", "CPU variant") if name in known]
    return " ".join(words) or platform.machine()


@functools.cache
def _cache(path: Path) -> TuningCache:
    return TuningCache(path)
