"""The calibration file: an .npz of plain arrays, written atomically and read without pickle.

`header` is UTF-8 JSON as uint8: `format`, `names`, `digest`. The other arrays have one row per name:
`integers` int64 [T, 5] (count, zeros, nans, infs, exponent), `range` float64 [T, 2] and
`counts` int64 [T, 2, BINS].
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core.atomic import atomic_write
from deepseek_core.calibration.stats import BINS, TensorStats
from deepseek_core.errors import CalibrationError

__all__ = ["damaged", "load", "save"]

_FORMAT = 1
_MEMBERS = ("header", "integers", "range", "counts")


def save(path: str | os.PathLike[str], stats: Mapping[str, TensorStats], digest: str) -> None:
    """Write statistics to `path`.

    Raises:
        StorageError: the file cannot be written.
    """
    every = list(stats.values())
    header = json.dumps({"format": _FORMAT, "names": list(stats), "digest": digest}).encode()
    integers = [(s.count, s.zeros, s.nans, s.infs, s.exponent) for s in every]
    with atomic_write(path) as file:
        np.savez_compressed(
            file,
            header=np.frombuffer(header, np.uint8),
            integers=np.array(integers, np.int64).reshape(-1, 5),
            range=np.array([(s.min, s.max) for s in every], np.float64).reshape(-1, 2),
            counts=np.array([s.counts for s in every], np.int64).reshape(-1, 2, BINS),
        )


def load(path: str | os.PathLike[str]) -> tuple[dict[str, TensorStats], str]:
    """Statistics and the digest that the file claims for them.

    Raises:
        CalibrationError: the file is missing, damaged, or of another kind or a newer version.
    """
    try:
        header, arrays = _read(path)
        version, names, digest = header["format"], header["names"], header["digest"]
    except CalibrationError:
        raise
    except OSError as error:
        raise CalibrationError(
            f"cannot read '{os.fspath(path)}': {error.strerror or error}", fix="check the path"
        ) from error
    except Exception as error:  # a damaged archive fails anywhere in zipfile, zlib, json or numpy, with any exception
        raise damaged(path, str(error) or type(error).__name__) from error
    if version != _FORMAT:
        raise CalibrationError(
            f"'{os.fspath(path)}' is calibration format {version!r}, this version reads {_FORMAT}",
            fix="update deepseek-core, or calibrate again",
        )
    return _checked(path, names, arrays), str(digest)


def damaged(path: str | os.PathLike[str], why: str) -> CalibrationError:
    """The error for a file that is not what `save` wrote."""
    return CalibrationError(f"'{os.fspath(path)}' is not an intact calibration file ({why})", fix="calibrate again")


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()  # checksums first: the array parser below sees intact members only
        if broken is not None:
            raise damaged(path, f"checksum of '{broken}' is wrong")
    with np.load(path, allow_pickle=False) as data:
        arrays = {name: data[name] for name in _MEMBERS}
    return json.loads(arrays.pop("header").tobytes()), arrays


def _checked(path: str | os.PathLike[str], names: list[str], arrays: dict[str, NDArray[Any]]) -> dict[str, TensorStats]:
    expected = {"integers": (np.int64, (5,)), "range": (np.float64, (2,)), "counts": (np.int64, (2, BINS))}
    for key, (dtype, row) in expected.items():
        if arrays[key].dtype != dtype or arrays[key].shape != (len(names), *row):
            raise damaged(path, f"array '{key}' is {arrays[key].dtype}{list(arrays[key].shape)}")
    stats: dict[str, TensorStats] = {}
    for name, (count, zeros, nans, infs, exponent), (low, high), counts in zip(
        names, arrays["integers"].tolist(), arrays["range"].tolist(), arrays["counts"], strict=True
    ):
        stats[name] = TensorStats(count, zeros, nans, infs, low, high, exponent, counts.copy())
        problem = stats[name].problem()
        if problem:
            raise damaged(path, f"tensor '{name}': {problem}")
    return stats
