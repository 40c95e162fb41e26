"""The choice among the compiler's options by its own estimates, and estimates of before, kept on disk.

Options are few and all tried. The limit of fast memory is a number: the schedule changes where it no longer fits, so
the search goes down from what the defaults use, each time to just below what the last one used. The next limits often
cost nothing, and some save cycles too, since the compiler's scheduler is a heuristic of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from deepseek_backend_npu.settings import Settings
from deepseek_backend_npu.vela import Compiled
from deepseek_backend_npu.versions import compiler_version
from deepseek_core.errors import BackendError
from deepseek_core.selection import TuningCache, cache_folder

__all__ = ["Attempt", "best", "context", "explore", "known", "remember"]

_STEPS = 12
_FAR = (80, 65, 50, 35)
"""Percent of what the defaults use, where the search goes on after its small steps."""
_WORSE = 1.05
"""Cycles over the defaults' from which less memory is not asked for any more."""

Attempt = tuple[Compiled, Settings]


def explore(
    compile_with: Callable[[Settings], Compiled], settings: Settings, progress: Callable[[str, float], object]
) -> list[Attempt]:
    """The compiler's defaults and what else the settings leave open; those that do not compile are left out.

    Args:
        compile_with: one compilation.
        progress: told what is being done, and how far.

    Raises:
        BackendError: none compiles.
    """
    found: list[Attempt] = []
    refusal: BackendError | None = None
    options = settings.candidates()
    most = len(options) + _STEPS + len(_FAR)
    for done, candidate in enumerate(options):
        progress("npu: compiling", done / most)
        try:
            found.append((compile_with(candidate), candidate))
        except BackendError as error:
            refusal = refusal or error
    if refusal is not None and not found:
        raise refusal
    for done, attempt in enumerate(_tighter(compile_with, settings, found[0][0]), len(options)):
        progress("npu: compiling", done / most)
        found.append(attempt)
    return found


def best(found: Sequence[Attempt]) -> Attempt:
    """Fewest cycles, then least on-chip memory, of those that need no more of either than the first."""
    first = found[0][0].estimate
    eligible = [
        attempt
        for attempt in found
        if attempt[0].estimate.cycles <= first.cycles and attempt[0].estimate.sram <= first.sram
    ]
    return min(eligible, key=lambda attempt: (attempt[0].estimate.cycles, attempt[0].estimate.sram))


def _tighter(compile_with: Callable[[Settings], Compiled], settings: Settings, first: Compiled) -> Iterator[Attempt]:
    used = total = first.estimate.sram
    limits = iter([0] * _STEPS + [total * share // 100 for share in _FAR])
    for limit in limits:
        candidate = settings.below(min(limit or used, used))
        if candidate is None:
            return
        try:
            compiled = compile_with(candidate)
        except BackendError:
            return
        yield compiled, candidate
        if compiled.estimate.sram >= used or compiled.estimate.cycles > _WORSE * first.estimate.cycles:
            return
        used = compiled.estimate.sram


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
