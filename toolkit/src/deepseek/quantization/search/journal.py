"""Results of finished trials, kept in a file so that an interrupted search continues where it stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepseek_core import Feeds
from deepseek_core.atomic import atomic_write
from deepseek_core.errors import DeepseekError, StorageError
from deepseek_core.selection import cache_folder

__all__ = ["Journal", "digest_of", "digest_of_samples", "kept"]

_FILE = "trials.json"
_VERSION = 1


class Journal:
    """JSON values by key; with a folder, every entry is on disk, whole, before `put` returns.

    Args:
        folder: made when it is missing; None keeps the entries in memory.

    Raises:
        StorageError: the folder cannot be used, or what is there is no journal.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._path = None if folder is None else Path(folder) / _FILE
        self._entries: dict[str, Any] = {} if self._path is None else _read(self._path)

    def get(self, key: str) -> Any:
        """The entry, None when there is none."""
        return self._entries.get(key)

    def put(self, key: str, value: Any) -> None:
        """Add an entry."""
        self._entries[key] = value
        if self._path is not None:
            self._write(self._path)

    def save(self, folder: Path) -> None:
        """Write all entries into a folder, made when it is missing."""
        _make(folder)
        self._write(folder / _FILE)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def is_kept(self) -> bool:
        """Whether the entries are on disk."""
        return self._path is not None

    def _write(self, path: Path) -> None:
        with atomic_write(path, "w") as file:
            json.dump({"version": _VERSION, "trials": self._entries}, file, indent=1)


@contextlib.contextmanager
def kept(journal: Journal) -> Iterator[None]:
    """Whatever ends a search early, its finished trials stay, and the exception says where."""
    try:
        yield
    except BaseException as error:
        if len(journal) and not journal.is_kept:
            folder = cache_folder() / "interrupted-search"
            with contextlib.suppress(DeepseekError):
                journal.save(folder)
                error.add_note(f"finished trials are kept: continue with resume='{folder}'")
        raise


def digest_of(*parts: object) -> str:
    """SHA-256 (hex) of plain JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def digest_of_samples(samples: Collection[Feeds]) -> str:
    """SHA-256 (hex) of every array with its name, in order."""
    digest = hashlib.sha256()
    for sample in samples:
        for name, array in sample.items():
            data = np.ascontiguousarray(array)
            digest.update(f"{name} {data.dtype} {data.shape};".encode())
            digest.update(
                data.tobytes() if data.dtype == object else data.view(np.uint8).data if data.ndim else data.tobytes()
            )
    return digest.hexdigest()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot use folder '{folder}' ({error.strerror})", fix="name a folder to keep") from None


def _read(path: Path) -> dict[str, Any]:
    _make(path.parent)
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"'{path}' cannot be read ({error})", fix="delete it to start anew") from None
    if not isinstance(data, Mapping) or data.get("version") != _VERSION or not isinstance(data.get("trials"), dict):
        raise StorageError(f"'{path}' holds no trials of this release", fix="name another folder, or delete it")
    return dict(data["trials"])
