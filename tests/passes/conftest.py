"""Models in ONNX's text form, and what passes make of them."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.verify import verify
from deepseek_core.passes import run_passes
from deepseek_core.passes.bodies import all_nodes
from deepseek_core.reference import evaluate

HEADER = '<ir_version: 10, opset_import: ["" : 21]>\n'
FACTS = frozenset({"constants folded", "conditions folded"})


@pytest.fixture(scope="session")
def ops():
    """`ops(model)`: op types of all nodes, those of bodies behind the node around them."""
    return lambda model: [node.op_type for node in all_nodes(model.graph)]


@pytest.fixture(scope="session")
def run_ort():
    """`run_ort(proto, feeds)`: outputs of ONNX Runtime without any optimisation."""

    def run(proto, feeds):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        return onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, feeds)

    return run


@pytest.fixture(scope="session")
def change(run_ort):
    """`change(text, steps, *feeds)`: the model after `steps`, which must keep the outputs on every feed.

    `steps` is a list of passes, or a function of the model; running it a second time must change nothing. ONNX Runtime
    is the judge, and the reference backend where it does not take the model (`peer=False`).
    """

    def make(text, steps, *feeds, peer=True) -> QuantizedModel:
        proto = onnx.parser.parse_model(HEADER + text)
        model = load_model(proto)
        origin = model.clone()
        run = steps if callable(steps) else lambda changed: run_passes(changed, steps, FACTS)
        run(model)
        verify(model)
        for feed in feeds:
            expected = run_ort(proto, feed) if peer else evaluate(origin, feed).values()
            ours = evaluate(model, feed).values()
            for one, other, third in zip(expected, ours, run_ort(ir.to_proto(model.model), feed), strict=True):
                assert one.dtype == other.dtype
                np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
                np.testing.assert_allclose(third, one, rtol=1e-5, atol=1e-6)
        digest = model.digest()
        run(model)
        assert model.digest() == digest, "a second run changes the model again"
        return model

    return make
