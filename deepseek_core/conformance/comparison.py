"""Compares outputs with the reference under the tolerance a backend declared, and says where they differ."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from deepseek_core.conformance.case import Failed
from deepseek_core.expectations import Tolerance

__all__ = ["compare"]

_SHOWN = 12
_CODES = frozenset(np.dtype(t) for t in (np.int8, np.uint8, np.int16, np.uint16, ml_dtypes.int4, ml_dtypes.uint4))
_FLOAT8 = np.dtype(ml_dtypes.float8_e4m3fn)


def compare(name: str, expected: NDArray[Any], actual: object, tolerance: Tolerance) -> int | None:
    """Judge one output.

    Codes are compared in units of the last place (float8: steps between neighbouring codes); at most
    `tolerance.fraction` of them may differ at all. Floats are compared as `numpy.isclose` does, but never
    finer than the output type resolves.

    Returns:
        The largest distance of codes; None where the output has no codes.

    Raises:
        Failed: type, shape or values are not as expected; the details list expected and actual values.
    """
    if not isinstance(actual, np.ndarray):
        raise Failed(f"output '{name}' is a {type(actual).__name__}, not an array")
    if actual.dtype != expected.dtype:
        raise Failed(f"output '{name}' has dtype {actual.dtype}, declared is {expected.dtype}")
    if actual.shape != expected.shape:
        raise Failed(f"output '{name}' has shape {actual.shape}, expected {expected.shape}")
    if expected.dtype in _CODES or expected.dtype == _FLOAT8:
        return _compare_codes(name, expected, actual, tolerance)
    if expected.dtype.kind in "biuSOU":
        _report(name, expected, actual, expected != actual, "")
    else:
        _compare_floats(name, expected, actual, tolerance)
    return None


def _compare_codes(name: str, expected: NDArray[Any], actual: NDArray[Any], tolerance: Tolerance) -> int:
    distance = np.abs(_ordinal(expected) - _ordinal(actual))
    allowed = f"allowed: {tolerance.lsb} LSB" + (f" on {tolerance.fraction:.2%}" if tolerance.lsb else "")
    far = distance > tolerance.lsb
    if far.any():
        _report(name, expected, actual, far, f"by up to {distance.max()} LSB ({allowed})")
    share = np.count_nonzero(distance) / max(distance.size, 1)
    if share > tolerance.fraction:
        _report(name, expected, actual, distance > 0, f"on {share:.2%} of the elements ({allowed})")
    return int(distance.max(initial=0))


def _ordinal(codes: NDArray[Any]) -> NDArray[np.int64]:
    """Integers in the order of the codes, neighbours one apart; NaN far from everything."""
    if codes.dtype != _FLOAT8:
        return codes.astype(np.int64)
    bits = codes.view(np.uint8).astype(np.int64)
    order = np.where(bits & 0x80, -(bits & 0x7F), bits)
    return np.where(np.isnan(codes.astype(np.float32)), 10**6, order)


def _compare_floats(name: str, expected: NDArray[Any], actual: NDArray[Any], tolerance: Tolerance) -> None:
    step = float(ml_dtypes.finfo(expected.dtype).eps)  # type: ignore[no-untyped-call]
    want, got = expected.astype(np.float64), actual.astype(np.float64)
    close = np.isclose(got, want, rtol=max(tolerance.rtol, step), atol=tolerance.atol, equal_nan=True)
    if close.all():
        return
    with np.errstate(invalid="ignore"):
        worst = np.nanmax(np.abs(got - want), initial=0.0)
    _report(
        name,
        expected,
        actual,
        ~close,
        f"by up to {worst:.3g} (allowed: rtol {tolerance.rtol:g}, atol {tolerance.atol:g})",
    )


def _report(name: str, expected: NDArray[Any], actual: NDArray[Any], wrong: NDArray[np.bool_], amount: str) -> None:
    """Raise `Failed` if anything is wrong, with the first places in the details."""
    count = int(np.count_nonzero(wrong))
    if not count:
        return
    places = np.argwhere(wrong)[:_SHOWN]
    rows = [f"{'index':>20}  {'expected':>12}  {'actual':>12}"]
    for place in map(tuple, places.tolist()):
        index = "[" + ", ".join(map(str, place)) + "]"
        rows.append(f"{index:>20}  {_shown(expected[place]):>12}  {_shown(actual[place]):>12}")
    if count > len(places):
        rows.append(f"{'…':>20}  and {count - len(places)} more")
    raise Failed(f"{count} of {wrong.size} values of '{name}' differ {amount}".rstrip(), "\n".join(rows))


def _shown(value: Any) -> str:
    return f"{float(value):.7g}" if isinstance(value, (np.floating, ml_dtypes.float8_e4m3fn)) else str(value)
