"""Walking a network in stages must see what the whole quantized network would have shown."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from deepseek.quantization.execution import Runner
from deepseek.quantization.grams import Decision, Measured, sites_of, walk
from deepseek.quantization.grams.stages import plan
from deepseek.quantization.precision import Precision
from deepseek.quantization.work import Work
from onnx import TensorProto, helper, numpy_helper

from deepseek_core import QuantizedModel, discover
from deepseek_core.errors import CalibrationError
from deepseek_core.quantize import QuantizedWeight


def work_on(model: QuantizedModel, samples: Any, precision: Precision = Precision.INT8) -> Work:
    return Work.start(model, samples, precision, ("cpu",), discover())


class Nearest:
    """Rounds to nearest, and keeps what it was shown."""

    def __init__(self) -> None:
        self.seen: dict[str, Measured] = {}

    def __call__(self, measured: Measured) -> Decision:
        site = measured.site
        self.seen[site.unit.name] = measured
        codes = measured.start.quantize(site.layout.array(site.weight).astype(np.float32))
        return Decision(QuantizedWeight(codes, measured.start))


def test_nearest_all_the_way_is_plain_quantization(residual: QuantizedModel, pictures: Any) -> None:
    work = work_on(residual, pictures)
    decide = Nearest()
    done = walk(work, decide, biases=False)
    assert list(decide.seen) == ["stem", "depthwise", "project", "head"]
    assert set(done.weights) == {(name, 1) for name in decide.seen}
    assert done.quantized().digest() == work.quantized().digest()


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_moments_are_those_of_the_quantized_network(
    residual: QuantizedModel, pictures: Any, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[walk.__module__], "_MEMORY", memory)
    monkeypatch.setattr("deepseek.quantization.grams.moments._MOST", 1e30)
    work = work_on(residual, pictures).calibrated()
    decide = Nearest()
    walk(work, decide, biases=False)
    for name in ("depthwise", "project", "head"):
        measured = decide.seen[name]
        site = measured.site
        with Runner(work.quantized(), [site.reads]) as quantized, Runner(work.model, [site.makes]) as right:
            rows, outputs = [], []
            for sample in pictures:
                x, y = quantized(sample)[site.reads], right(sample)[site.makes]
                assert measured.data is not None
                picks = np.arange(site.layout.places(x.shape, y.shape))
                rows.append(site.layout.rows(measured.data.fake_quantize(x), y.shape, picks))
                outputs.append(site.layout.outputs(y, x.shape, picks))
        x, y = np.concatenate(rows, axis=1)[0], np.concatenate(outputs, axis=1)[0]
        moments = measured.total()
        assert moments.count == len(x)
        np.testing.assert_allclose(moments.x[0], x.mean(axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(moments.xx[0], np.cov(x.T, bias=True).reshape(x.shape[1], -1), rtol=1e-3, atol=1e-4)
        cross = (y - y.mean(axis=0)).T @ (x - x.mean(axis=0)) / len(x)
        np.testing.assert_allclose(moments.yx[0], cross, rtol=1e-3, atol=1e-4)


def test_places_are_limited_and_the_same_every_time(residual: QuantizedModel, pictures: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("deepseek.quantization.grams.collect._LEAST_ROWS", 100)
    work = work_on(residual, pictures).calibrated()
    first, second = Nearest(), Nearest()
    walk(work, first, rows=1)
    walk(work, second, rows=1)
    one, two = first.seen["stem"].total(), second.seen["stem"].total()
    assert 100 <= one.count < 120
    np.testing.assert_array_equal(one.xx, two.xx)
    other = Nearest()
    walk(replace(work, seed=1), other, rows=1)
    assert not np.array_equal(other.seen["stem"].total().xx, one.xx)


def test_halves_of_a_single_sample(residual: QuantizedModel, pictures: Any) -> None:
    decide = Nearest()
    walk(work_on(residual, pictures[:1]), decide)
    folds = decide.seen["stem"].folds()
    assert [fold.count for fold in folds] == [81, 81]


def test_biases_that_change_are_seen_by_later_layers(residual: QuantizedModel, pictures: Any) -> None:
    work = work_on(residual, pictures).calibrated()
    nearest, shifted = Nearest(), Nearest()

    def shift(measured: Measured) -> Decision:
        decision = shifted(measured)
        assert measured.site.bias is not None, "a zero bias was added where there was none"
        return replace(
            decision, bias=measured.site.bias.values + (1.0 if measured.site.unit.name == "project" else 0.0)
        )

    walk(work, nearest)
    done = walk(work, shift)
    gain = shifted.seen["head"].total().x - nearest.seen["head"].total().x
    assert np.abs(gain).max() > 0.05
    before, after = (next(n for n in w.model.graph if n.name == "project") for w in (work, done))
    assert len(before.inputs) == 2, "the given work stays as it is"
    np.testing.assert_array_equal(after.inputs[2].const_value.numpy(), np.ones(8, np.float32))


@pytest.mark.parametrize(("most", "expected"), [(0, 4), (2, 2), (1, 1)])
def test_stages(residual: QuantizedModel, pictures: Any, most: int, expected: int) -> None:
    work = work_on(residual, pictures)
    units = work.model.units()
    stages = plan(units, sites_of(units, work.recipe().weights), most)
    assert len(stages) == expected
    sites = [site.unit.name for stage in stages for site in stage.sites]
    assert sites == ["stem", "depthwise", "project", "head"]
    assert stages[0].live == ("x",)
    for one, two in pairwise(stages):
        assert one.left == two.live
    if most == 0:
        assert set(stages[2].live) == {"r2", "p1"}, "the skip is carried along"


def test_layers_that_read_one_value_are_measured_together(attention: QuantizedModel, texts: Any) -> None:
    work = work_on(attention, texts, Precision.INT4).calibrated()
    units = work.model.units()
    stages = plan(units, sites_of(units, work.recipe().weights), 0)
    assert [[site.unit.name for site in stage.sites] for stage in stages] == [["query", "key", "value"], ["out"]]
    decide = Nearest()
    walk(work, decide)
    query, key, value = (decide.seen[name].parts[0][0] for name in ("query", "key", "value"))
    assert query is key, "what both read is summed once"
    assert value.first.min() > 0, "this one reads what a Relu makes"


def test_values_that_are_not_finite_are_named(attention: QuantizedModel, texts: Any) -> None:
    broken = [{"x": np.full_like(texts[0]["x"], np.inf)}]
    with pytest.raises(CalibrationError, match=r"'query'.*sample 0"):
        walk(work_on(attention, broken, Precision.INT4), Nearest())


def test_bodies_keep_what_they_have() -> None:
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32) * 3, "w")

    def branch(op: str) -> Any:
        out = helper.make_tensor_value_info(f"{op}_out", TensorProto.FLOAT, None)
        nodes = [
            helper.make_node("MatMul", ["h", "w"], [f"{op}_m"], f"{op}_mat"),
            helper.make_node(op, [f"{op}_m"], [f"{op}_out"], op),
        ]
        return helper.make_graph(nodes, op, [], [out])

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
        helper.make_node("If", ["flag"], ["z"], "if", then_branch=branch("Relu"), else_branch=branch("Neg")),
        helper.make_node("MatMul", ["z", "w"], ["y"], "last"),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4]),
        helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
    ]
    graph = helper.make_graph(
        nodes, "net", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [weight]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    rng = np.random.default_rng(0)
    samples = [{"x": rng.standard_normal((3, 4)).astype(np.float32), "flag": np.array(i % 2 == 0)} for i in range(6)]
    decide = Nearest()
    work = work_on(QuantizedModel(ir.from_proto(proto)), samples)
    done = walk(work, decide)
    assert list(decide.seen) == ["first", "last"]
    with Runner(done.quantized()) as run:
        assert all(np.isfinite(run(sample)["y"]).all() for sample in samples)
