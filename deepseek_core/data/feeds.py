"""Feeds of one run: read from files, made at random, and outputs written back."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core.atomic import atomic_write
from deepseek_core.data.arrays import fit_one, read_arrays
from deepseek_core.errors import FeedError
from deepseek_core.ir.model import TensorInfo, signature

__all__ = ["random_feeds", "read_feeds", "save_outputs"]


def read_feeds(files: Sequence[tuple[str | None, Path]], inputs: Sequence[TensorInfo]) -> dict[str, NDArray[Any]]:
    """Feeds from `(input name, file)` pairs.

    Args:
        files: a `.npy` with the name of its input (None where the model has one input), or a `.npz` without a name
            whose keys are input names.
        inputs: what the model must be fed.

    Raises:
        FeedError: a name is unknown, given twice or missing, or an array does not fit.
    """
    known = {info.name: info for info in inputs}
    feeds: dict[str, NDArray[Any]] = {}
    for name, path in files:
        for key, array in read_arrays(path, FeedError).items():
            target = _target(name, key, path, known)
            if target in feeds:
                raise FeedError(f"input '{target}' is given twice", fix="give each input once")
            feeds[target] = fit_one(array, known[target], str(path))
    missing = [info for name, info in known.items() if name not in feeds]
    if missing:
        raise FeedError(
            f"no array for input {signature(tuple(missing))}", fix=f"give --input {missing[0].name}=FILE.npy"
        )
    return feeds


def random_feeds(inputs: Sequence[TensorInfo], seed: int = 0) -> dict[str, NDArray[Any]]:
    """Standard-normal floats, uniform codes, and zeros for other types; a symbolic dimension becomes 1.

    Raises:
        FeedError: the rank of an input is unknown, or its type cannot be made up.
    """
    generator = np.random.default_rng(seed)
    return {info.name: _random(info, generator) for info in inputs}


def save_outputs(outputs: Mapping[str, NDArray[Any]], destination: Path) -> list[Path]:
    """Write outputs atomically: one `.npz`, one `.npy` (a single output), or a folder with a `.npy` for each.

    Characters of an output's name that cannot stand in a file name become `_`.

    Raises:
        FeedError: several outputs for one `.npy`.
    """
    arrays = {name: _plain(array) for name, array in outputs.items()}
    if destination.suffix == ".npz":
        with atomic_write(destination) as file, zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        return [destination]
    if destination.suffix == ".npy":
        if len(arrays) != 1:
            raise FeedError(f"{len(arrays)} outputs do not fit one .npy", fix="name a folder or a .npz file")
        return [_save(destination, next(iter(arrays.values())))]
    destination.mkdir(parents=True, exist_ok=True)
    return [_save(destination / f"{_file_name(name)}.npy", array) for name, array in arrays.items()]


def _save(path: Path, array: NDArray[Any]) -> Path:
    with atomic_write(path) as file:
        np.save(file, array, allow_pickle=False)
    return path


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """The array in a dtype that NumPy files know: strings at a fixed width, and float32 for bfloat16, float8, int4."""
    if array.dtype == object:
        return array.astype(str)
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name).lstrip(".") or "output"


def _target(name: str | None, key: str, path: Path, known: Mapping[str, TensorInfo]) -> str:
    chosen = name or key
    if not chosen and len(known) == 1:
        return next(iter(known))
    if not chosen or chosen not in known:
        found = f"input '{chosen}' is unknown" if chosen else f"{path} does not say which input it is for"
        raise FeedError(f"{found}; the inputs are {signature(tuple(known.values()))}", fix="give --input NAME=FILE")
    return chosen


def _random(info: TensorInfo, generator: np.random.Generator) -> NDArray[Any]:
    if info.shape is None:
        raise FeedError(f"the rank of input '{info.name}' is unknown", fix=f"give --input {info.name}=FILE.npy")
    shape = tuple(d if isinstance(d, int) else 1 for d in info.shape)
    if info.dtype in ("object", "unknown"):
        raise FeedError(f"input '{info.name}' has type {info.dtype}", fix=f"give --input {info.name}=FILE.npy")
    dtype = np.dtype(info.dtype)
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    if dtype.kind in "iu" and dtype.itemsize == 1:
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return np.zeros(shape, dtype)
