"""The tuning cache of this machine."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from deepseek_backend_cpu.host import architecture, cpu_name, features, runtime_version
from deepseek_core import Target, Unit
from deepseek_core.selection import TuningCache, cache_folder, unit_signature

__all__ = ["CHANNELS_LAST", "context", "known_latencies", "open_cache"]

CHANNELS_LAST = " channels last"
"""Added to the signature of a unit measured with its images in the layout integer kernels use."""


@functools.cache
def context(threads: int) -> str:
    """What figures of this machine hold for."""
    flags = ",".join(features())
    return f"{cpu_name()} [{flags}], onnxruntime {runtime_version()}, {threads or 'default'} threads"


def open_cache() -> TuningCache:
    """The cache file of this backend."""
    return _cache(cache_folder() / "cpu-tuning.json")


@functools.cache
def _cache(path: Path) -> TuningCache:
    return TuningCache(path)


def known_latencies(unit: Unit, target: Target, threads: int = 0) -> Mapping[str, float]:
    """Measured seconds by kernel name; empty for another architecture and for units never measured."""
    if target.device != architecture():
        return {}
    cache, signature = open_cache(), unit_signature(unit)
    return cache.get(context(threads), signature) or cache.get(context(threads), signature + CHANNELS_LAST)
