"""Statistics from arrays, and a float model that is a NumPy function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepseek_core.calibration import TensorStats
from deepseek_core.executable import Tier
from deepseek_core.ir.model import TensorInfo

Arrays = dict[str, NDArray[Any]]


class FunctionExecutable:
    """An executable that maps feeds to outputs with a Python function."""

    tier = Tier.REFERENCE
    device = "python"

    def __init__(
        self, inputs: tuple[TensorInfo, ...], outputs: tuple[str, ...], function: Callable[[Mapping[str, Any]], Arrays]
    ) -> None:
        self.inputs = inputs
        self.outputs = tuple(TensorInfo(name, "float32", None) for name in outputs)
        self.function = function
        self.runs = 0

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        self.runs += 1
        return self.function(feeds)

    def close(self) -> None:
        return


@pytest.fixture
def stats_of():
    """`stats_of(*arrays)`: statistics of the values of all arrays."""

    def make(*arrays: NDArray[Any]) -> TensorStats:
        stats = TensorStats()
        for array in arrays:
            stats.update(np.asarray(array))
        return stats

    return make


@pytest.fixture
def function_executable():
    """The class: `function_executable(inputs, output_names, function)`."""
    return FunctionExecutable


@pytest.fixture
def executable():
    """x float32 [n, 3] → `double` = 2x, `log` = ln x."""

    def function(feeds: Mapping[str, Any]) -> Arrays:
        with np.errstate(all="ignore"):
            return {"double": feeds["x"] * 2, "log": np.log(feeds["x"])}

    return FunctionExecutable((TensorInfo("x", "float32", ("n", 3)),), ("double", "log"), function)
