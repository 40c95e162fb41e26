"""Networks written as a list of operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from deepseek.quantization.execution import Runner
from deepseek.quantization.precision import Precision
from deepseek.quantization.search.judge import Judge
from deepseek.quantization.work import Work
from onnx import TensorProto, helper, numpy_helper

from deepseek_core import CalibratorSpec, QuantizedModel, discover
from deepseek_core.ir.frontend import load_model
from deepseek_core.pipeline import float_model


class Draft:
    """A graph under construction; operators and constants get names by number."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def weight(self, *shape: int, spread: float = 0.4) -> str:
        return self.constant((self.random.standard_normal(shape) * spread).astype(np.float32))

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        number = len(self.nodes)
        made = [f"v{number}"] if outputs == 1 else [f"v{number}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), made, f"{kind.lower()}_{number}", **attributes))
        return made[0] if outputs == 1 else made

    def model(self, inputs: dict[str, Sequence[Any]], *outputs: str) -> QuantizedModel:
        """Prepared, as the steps of a recipe get it; inputs and outputs are float32."""
        given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(s)) for n, s in inputs.items()]
        made = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "network", given, made, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        return float_model(load_model(model))


@pytest.fixture(scope="session")
def new_draft() -> type[Draft]:
    """`new_draft(seed)`."""
    return Draft


@pytest.fixture(scope="session")
def outputs() -> Callable[..., dict[str, np.ndarray]]:
    """`outputs(model, feeds)`: what a model makes of one sample."""

    def run(model: QuantizedModel, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with Runner(model) as runner:
            return runner(feeds)

    return run


@pytest.fixture(scope="session")
def start() -> Callable[..., Work]:
    """`start(model, samples, precision)`: work for the CPU backend with min-max ranges."""
    registry = discover()

    def begin(model: QuantizedModel, samples: list[dict[str, np.ndarray]], precision: str = "int8") -> Work:
        chosen = CalibratorSpec("minmax")
        return Work.start(model, samples, Precision(precision), ("cpu",), registry, calibrator=chosen)

    return begin


@pytest.fixture(scope="session")
def fidelity() -> Callable[[Work, list[dict[str, np.ndarray]]], float]:
    """`fidelity(work, samples)`: signal to noise in dB of the quantized outputs, against the network it came from."""

    def measure(work: Work, samples: list[dict[str, np.ndarray]]) -> float:
        return Judge(work.origin, samples, None, work.registry).fidelity(work.quantized()).sqnr

    return measure
