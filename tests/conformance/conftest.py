"""Reports and backends for tests of the kit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deepseek_core import Backend
from deepseek_core.conformance import Report, Result, Status

from .mutants import Faithful


@pytest.fixture
def faithful() -> Backend:
    return Backend(Faithful(), "faithful")


@pytest.fixture
def report_of() -> Callable[..., Report]:
    """A report of the given results."""

    def make(*results: Result) -> Report:
        return Report("npu", "1.2.0", "deepseek-backend-npu", "npu:v1", "emulated", "npu emulator", "v1", results, 1.5)

    return make


@pytest.fixture
def result() -> Callable[..., Result]:
    """A result with the given status."""

    def make(status: Status, id: str = "numerics/Conv/uint8-int8pc-uint8/strides", **more: object) -> Result:
        op, types = id.split("/")[1:3] if id.startswith("numerics") else ("", "")
        return Result(id, status, "a different stride", op=op, types=types, **more)  # type: ignore[arg-type]

    return make
