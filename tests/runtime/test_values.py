"""Values that are no plain number arrays go through package and session like the others."""

import numpy as np
from onnx.parser import parse_model

from deepseek_core.ir.frontend import load_model
from deepseek_core.package import Package
from deepseek_core.pipeline import compile
from deepseek_core.runtime import Session


def run(tmp_path, text, feeds):
    model = load_model(parse_model(f'<ir_version: 10, opset_import: ["": 21]> {text}'))
    compile(model, ["reference"]).save(tmp_path / "a.ds")
    with Session(Package.open(tmp_path / "a.ds")) as session:
        return session.run(feeds), session


def test_sequences(tmp_path):
    text = "g (seq(float[2]) s, float[2] x) => (seq(float[2]) t, float[2] y) { t = SequenceInsert(s, x) y = Relu(x) }"
    x = np.array([-1, 1], np.float32)
    result, session = run(tmp_path, text, {"s": [np.zeros(2, np.float32)], "x": x})
    assert [info.dtype for info in session.inputs] == ["sequence of float32", "float32"]
    assert list(result) == ["t", "y"]
    np.testing.assert_array_equal(result["t"], [[0, 0], [-1, 1]])


def test_strings(tmp_path):
    text = "g (string[N] s) => (string[N] t) { t = Identity(s) }"
    result, session = run(tmp_path, text, {"s": np.array(["a", "ß"], object)})
    assert session.inputs[0].dtype == "object"
    assert result["t"].tolist() == ["a", "ß"]


def test_control_flow(tmp_path):
    text = """g (bool c, float[2] x) => (float[2] y) {
        z = Neg(x)
        y = If (c) <
            then_branch = yes () => (float[2] a) { a = Relu(z) },
            else_branch = no () => (float[2] b) { b = Abs(z) }
        >
    }"""
    x = np.array([-3, 3], np.float32)
    for flag, expected in ((True, [3, 0]), (False, [3, 3])):
        result, _ = run(tmp_path, text, {"c": np.array(flag), "x": x})
        np.testing.assert_array_equal(result["y"], expected)
