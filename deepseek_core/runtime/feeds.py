"""Check what `run` is fed: a cheap look first, and a patient one that finds the words when something is off."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from deepseek_core.errors import FeedError
from deepseek_core.executable import Feeds
from deepseek_core.ir.model import TensorInfo, signature

__all__ = ["FeedCheck"]


class FeedCheck:
    """Checks names, dtypes and shapes against a signature. NaN is data like any other.

    Args:
        inputs: what must be fed; a symbolic dimension must have one size in all inputs of a call.
    """

    def __init__(self, inputs: tuple[TensorInfo, ...]) -> None:
        self._inputs = inputs
        self._dtypes = {info.name: _numpy_dtype(info.dtype) for info in inputs}
        # Only a fully static signature compares equal here; the others take the patient way.
        self._quick = tuple((info.name, self._dtypes[info.name], info.shape) for info in inputs)

    def __call__(self, feeds: Feeds) -> None:
        """Return when the feeds fit.

        Raises:
            FeedError: they do not; one line with the expected signature and the fix.
        """
        if len(feeds) == len(self._quick):
            for name, dtype, shape in self._quick:
                array = feeds.get(name)
                if array.__class__ is not np.ndarray or array.dtype is not dtype or array.shape != shape:
                    break
            else:
                return
        self._check_patiently(feeds)

    def _check_patiently(self, feeds: Feeds) -> None:
        known = {info.name for info in self._inputs}
        missing = ", ".join(f"'{name}'" for name in sorted(known - set(feeds)))
        unknown = ", ".join(f"'{name}'" for name in sorted(map(str, set(feeds) - known)))
        if unknown:
            instead = f" instead of {missing}" if missing else ""
            raise self._error(f"there is no input {unknown}", f"leave it out, or name it as expected{instead}")
        if missing:
            raise self._error(f"input {missing} is not fed", "feed every input")
        sizes: dict[str, tuple[int, str]] = {}
        for info in self._inputs:
            array = feeds[info.name]
            if self._dtypes[info.name] is None:
                continue
            if not isinstance(array, np.ndarray):
                kind = type(array).__name__
                raise self._error(f"input '{info.name}' is a {kind}, not an array", "convert it with numpy.asarray")
            self._check_dtype(info, array)
            self._check_shape(info, array, sizes)

    def _check_dtype(self, info: TensorInfo, array: np.ndarray[Any, Any]) -> None:
        if array.dtype != self._dtypes[info.name]:
            raise self._error(
                f"input '{info.name}' has dtype {array.dtype}, not {info.dtype}",
                f"convert it with .astype('{info.dtype}')",
            )

    def _check_shape(self, info: TensorInfo, array: np.ndarray[Any, Any], sizes: dict[str, tuple[int, str]]) -> None:
        if info.shape is None:
            return
        if len(info.shape) != array.ndim:
            raise self._error(
                f"input '{info.name}' has {array.ndim} dimensions {list(array.shape)}, not {len(info.shape)}",
                "reshape it; a single sample still has a batch dimension",
            )
        for axis, (wanted, size) in enumerate(zip(info.shape, array.shape, strict=True)):
            if isinstance(wanted, int) and wanted != size:
                raise self._error(
                    f"input '{info.name}' has shape {list(array.shape)}", f"make axis {axis} {wanted} long"
                )
            if isinstance(wanted, str):
                first, where = sizes.setdefault(wanted, (size, info.name))
                if first != size:
                    raise self._error(
                        f"dimension {wanted} is {first} in input '{where}' and {size} in '{info.name}'",
                        "feed arrays that agree on it",
                    )

    def _error(self, what: str, fix: str) -> FeedError:
        return FeedError(f"{what} (expected: {signature(self._inputs) or 'no inputs'})", fix=fix)


def _numpy_dtype(name: str) -> np.dtype[Any] | None:
    """The dtype of a `TensorInfo`; None where it is unknown, or the value is no array, and anything goes."""
    if name == "unknown" or " of " in name:
        return None
    return np.dtype(getattr(ml_dtypes, name, name))
