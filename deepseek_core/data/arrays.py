"""NumPy files, and how an array becomes batches of a model's input."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core.errors import CalibrationError, DeepseekError, FeedError
from deepseek_core.ir.model import TensorInfo, signature

__all__ = ["ARRAY_SUFFIXES", "fit_many", "fit_one", "read_arrays", "rows"]

ARRAY_SUFFIXES = frozenset((".npy", ".npz"))
_MAGIC = (b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")
"""First bytes of a `.npy`, of a `.npz`, and of a `.npz` without arrays."""


def read_arrays(path: Path, error: type[DeepseekError] = CalibrationError) -> dict[str, NDArray[Any]]:
    """Arrays of a `.npz` by key, or the one of a `.npy` under the empty name. Nothing is unpickled.

    Raises:
        DeepseekError: of kind `error`; the file is no array file, is cut off, or holds Python objects.
    """
    try:
        with path.open("rb") as file:
            if not file.read(6).startswith(_MAGIC):
                raise ValueError("it is no NumPy file")
            file.seek(0)
            loaded = np.load(file, allow_pickle=False)
            return {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except (ValueError, EOFError, OSError, MemoryError, SyntaxError, KeyError, zipfile.BadZipFile) as problem:
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise error(f"{path} cannot be read ({reason})", fix="save it again with numpy.save or numpy.savez") from None


def rows(path: Path, info: TensorInfo) -> int:
    """Batches that `fit_many` would make of a file's first array, by its header alone; 1 where that is unreadable."""
    try:
        if path.suffix.lower() == ".npy":
            shape = _header(path.open("rb"))
        else:
            with zipfile.ZipFile(path) as archive:
                shape = _header(archive.open(archive.namelist()[0]))
    except (ValueError, OSError, EOFError, IndexError, SyntaxError, zipfile.BadZipFile):
        return 1
    return max(shape[0] // _batch(info), 1) if info.shape and len(shape) == len(info.shape) else 1


def fit_one(array: NDArray[Any], info: TensorInfo, origin: str) -> NDArray[Any]:
    """`array` as one value of the input `info`: a missing batch axis is added.

    Raises:
        FeedError: shape or dtype do not fit, with the signature that would.
    """
    array = _checked_dtype(array, info, origin)
    if info.shape is None or _matches(array.shape, info.shape):
        return array
    if _matches((1, *array.shape), info.shape):
        return array[np.newaxis]
    raise FeedError(
        f"{origin}: shape {list(array.shape)} does not fit input {signature((info,))}", fix="save it in that shape"
    )


def fit_many(array: NDArray[Any], info: TensorInfo, origin: str) -> list[NDArray[Any]]:
    """`array` as values of the input `info`, each of the model's batch size (1 where that is symbolic).

    An array without the batch axis is one sample; an array with more rows than the batch is split.

    Raises:
        FeedError: the array does not fit or is empty.
        CalibrationError: the array holds NaN or infinity.
    """
    array = _checked_dtype(array, info, origin)
    if array.size == 0:
        raise CalibrationError(f"{origin}: the array is empty", fix="leave the file out")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise CalibrationError(f"{origin}: NaN or infinity in the data", fix="leave such samples out")
    if not info.shape:
        return [array]
    batch = _batch(info)
    if array.ndim == len(info.shape) and _matches(array.shape[1:], info.shape[1:]) and array.shape[0] % batch == 0:
        return [array[start : start + batch] for start in range(0, array.shape[0], batch)]
    return [fit_one(array, info, origin)]


def _header(stream: IO[bytes]) -> tuple[int, ...]:
    """Shape of the array in a `.npy` stream, which is closed."""
    with stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(stream)[0]


def _batch(info: TensorInfo) -> int:
    """Rows of one sample: the input's first dimension, 1 where that is symbolic."""
    first = info.shape[0] if info.shape else None
    return max(first, 1) if isinstance(first, int) else 1


def _checked_dtype(array: NDArray[Any], info: TensorInfo, origin: str) -> NDArray[Any]:
    """Nothing is cast: uint8 pixels given for normalised floats are a mistake, not a format."""
    if info.dtype in (str(array.dtype), "unknown"):
        return array
    raise FeedError(
        f"{origin}: dtype {array.dtype} does not fit input {signature((info,))}",
        fix=f"save it with .astype('{info.dtype}') if its values are right",
    )


def _matches(shape: tuple[int, ...], pattern: tuple[int | str | None, ...]) -> bool:
    return len(shape) == len(pattern) and all(
        not isinstance(want, int) or have == want for have, want in zip(shape, pattern, strict=True)
    )
