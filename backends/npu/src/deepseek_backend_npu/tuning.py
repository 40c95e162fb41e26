"""Estimated latencies that the compiler gave before, kept on disk by what they hold for."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from deepseek_backend_npu.settings import Settings
from deepseek_backend_npu.versions import compiler_version
from deepseek_core.selection import TuningCache, cache_folder

__all__ = ["context", "known", "remember"]


def context(device: str, settings: Settings) -> str:
    """What estimates hold for: the variant, the system around it, the compiler."""
    limit = f", {settings.sram} bytes" if settings.sram else ""
    return f"{device}, {settings.system}, {settings.memory}{limit}, vela {compiler_version()}"


def known(where: str, signature: str) -> Mapping[str, float]:
    """Seconds by the name of the options; empty when nothing is known."""
    return _cache(_path()).get(where, signature)


def remember(where: str, signature: str, seconds: Mapping[str, float]) -> None:
    """Keep estimates."""
    cache = _cache(_path())
    cache.put(where, signature, seconds)
    cache.save()


def _path() -> Path:
    return cache_folder() / "npu-tuning.json"


@functools.cache
def _cache(path: Path) -> TuningCache:
    return TuningCache(path)
