"""The builder's measurements, kept between builds: one file for each version of TensorRT and each kind of device."""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path

from deepseek_core.errors import StorageError
from deepseek_core.selection import atomic_write, cache_folder

__all__ = ["load", "save"]

_PLAIN = re.compile(r"[^a-z0-9.]+")


def load(product: str, version: str, device: str) -> bytes:
    """The cache; empty where there is none or its checksum is off."""
    try:
        data = _path(product, version, device).read_bytes()
    except OSError:
        return b""
    return data[32:] if hashlib.sha256(data[32:]).digest() == data[:32] else b""


def save(product: str, version: str, device: str, cache: bytes) -> None:
    """Replace the file at once; a folder that cannot be written costs the cache and nothing else."""
    path = _path(product, version, device)
    with contextlib.suppress(OSError, StorageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(hashlib.sha256(cache).digest() + cache)


def _path(product: str, version: str, device: str) -> Path:
    name = _PLAIN.sub("-", f"{product} {version} {device}".lower()).strip("-")
    return cache_folder() / f"{name}.timing"
