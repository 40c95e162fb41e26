"""The ONNX project's own backend tests (`onnx.backend.test`), unmodified, as functions by name.

Category `Real` is left out: it downloads models and writes into the user's home.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping

import pytest
from onnx.backend.base import Backend

Case = Callable[[], None]

_CATEGORIES = ("Node", "Simple", "PyTorchConverted", "PyTorchOperator")


@functools.cache
def official_cases(backend: type[Backend]) -> Mapping[str, Case]:
    """Name → a function that raises when `backend` fails the case."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases compute overflows and divisions by zero on purpose
        from onnx.backend.test.runner import Runner

        suites = Runner(backend).test_cases
    found = {}
    for category in _CATEGORIES:
        suite = suites[f"OnnxBackend{category}ModelTest"]
        for name in dir(suite):
            if name.startswith("test_") and name.endswith("_cpu"):
                found[name.removesuffix("_cpu")] = functools.partial(getattr(suite, name), None)
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`official_case` runs over the names of all cases; strict known failures come from the module that asks."""
    if "official_case" not in metafunc.fixturenames:
        return
    known: Mapping[str, str] = getattr(metafunc.module, "KNOWN_FAILURES", {})
    names = official_cases(Backend)
    stale = sorted(set(known) - set(names))
    assert not stale, f"known failures that do not exist: {stale}"
    metafunc.parametrize(
        "official_case",
        [
            pytest.param(name, marks=pytest.mark.xfail(reason=known[name], strict=True) if name in known else ())
            for name in names
        ],
    )


@pytest.fixture(scope="session")
def official() -> Callable[[type[Backend]], Mapping[str, Case]]:
    return official_cases
