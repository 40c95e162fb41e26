"""Measured latencies on disk, shared by every process of a user."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deepseek_core.atomic import atomic_write
from deepseek_core.errors import StorageError

__all__ = ["TuningCache", "cache_folder"]

_SCHEMA = 1
_Entries = dict[str, dict[str, dict[str, float]]]


def cache_folder() -> Path:
    """Where caches of this user live: `DEEPSEEK_CACHE_DIR`, else the system's usual place."""
    if chosen := os.environ.get("DEEPSEEK_CACHE_DIR"):
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "deepseek"


class TuningCache:
    """Context → signature → kernel name → seconds.

    A context says what the figures hold for besides the unit: CPU, runtime version, threads. Several processes may
    use one file: saving merges with what is there under a lock, and a reader sees a whole file always. A file that
    cannot be read is ignored with a warning and replaced by the next save.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._known = _read(self.path)
        self._new: _Entries = {}

    def get(self, context: str, signature: str) -> Mapping[str, float]:
        """Seconds by kernel name; empty when nothing is known."""
        return self._known.get(context, {}).get(signature, {})

    def put(self, context: str, signature: str, seconds: Mapping[str, float]) -> None:
        """Remember figures; they are on disk after `save`."""
        addition = {context: {signature: dict(seconds)}}
        _merge(self._known, addition)
        _merge(self._new, addition)

    def save(self) -> None:
        """Merge new figures into the file. A folder that cannot be written costs a warning, nothing else."""
        if not self._new:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path.with_name(f"{self.path.name}.lock")):
                self._known = _read(self.path)
                _merge(self._known, self._new)
                with atomic_write(self.path, "w") as file:
                    json.dump({"schema": _SCHEMA, "latencies": self._known}, file, indent=1, sort_keys=True)
        except (OSError, StorageError) as error:
            warnings.warn(f"measurements are not kept: {error}", stacklevel=2)
        else:
            self._new = {}


def _merge(entries: _Entries, addition: _Entries) -> None:
    for context, signatures in addition.items():
        for signature, seconds in signatures.items():
            entries.setdefault(context, {}).setdefault(signature, {}).update(seconds)


def _read(path: Path) -> _Entries:
    try:
        return _parse(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        warnings.warn(f"tuning cache '{path}' is ignored: {error}", stacklevel=3)
        return {}


def _parse(data: Any) -> _Entries:
    if not isinstance(data, dict) or data.get("schema") != _SCHEMA or not isinstance(data.get("latencies"), dict):
        raise ValueError(f"it is not a tuning cache of schema {_SCHEMA}")
    entries: _Entries = data["latencies"]
    for signatures in entries.values():
        for seconds in signatures.values() if isinstance(signatures, dict) else (None,):
            if not isinstance(seconds, dict) or not all(map(_is_latency, seconds.values())):
                raise ValueError("it holds entries that are not latencies")
    return entries


def _is_latency(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value >= 0


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock; the system drops it when the process ends, however it ends."""
    with path.open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
