"""The report's figures against their definitions, and its page."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from deepseek.quantization import Quantizer
from deepseek.quantization.execution import Runner
from deepseek.quantization.notes import Note
from deepseek.quantization.report import Attempt, Layer, QuantizationReport
from deepseek.quantization.report.figures import decibels, size
from deepseek.quantization.report.spread import spreads_of

from deepseek_core import CalibratorSpec, discover
from deepseek_core.ir.frontend import load_model
from deepseek_core.pipeline import calibrate, float_model
from deepseek_core.quantize import apply_recipe, derive_recipe


@pytest.fixture(scope="module")
def network(onnx_network, onnx_samples):
    return Quantizer(onnx_network, calibration=onnx_samples, min_sqnr=300.0, progress=False).optimize()


@pytest.fixture(scope="module")
def prepared(onnx_network):
    return float_model(load_model(onnx_network))


def layer(name: str = "a", **changes) -> Layer:
    values = {
        "name": name,
        "op": "Conv",
        "output": f"{name}_out",
        "precision": "int8",
        "weight": "int8 per_channel",
        "activation": "uint8 per_tensor",
        "sqnr": 30.0,
        "weight_sqnr": 40.0,
        "parameters": 10,
        "float_bytes": 40,
        "bytes": 14,
    }
    return Layer(**(values | changes))


def report(*layers: Layer, **changes) -> QuantizationReport:
    values = {
        "name": "net",
        "targets": ("cpu",),
        "precision": "int8",
        "method": "entropy",
        "samples": 3,
        "layers": layers,
        "outputs": {"y": 30.0},
        "agreement": 1.0,
        "float_bytes": 100,
        "bytes": 30,
    }
    return QuantizationReport(**(values | changes))


def test_every_unit_has_a_line_with_its_types_noise_and_size(network, prepared) -> None:
    names = [unit.name for unit in prepared.units()]
    assert [found.name for found in network.report.layers] == names
    by_name = {found.name: found for found in network.report.layers}
    conv = by_name["conv_1"]
    assert (conv.op, conv.precision) == ("Conv", "int8")
    assert conv.weight.startswith("int8 per_channel")
    assert conv.parameters == 8 * 3 * 9 + 8
    assert conv.float_bytes == 4 * conv.parameters
    assert conv.bytes < conv.float_bytes
    assert network.report.float_bytes > network.report.bytes
    assert network.report.precisions == {"int8": len(names)}


def test_noise_is_measured_against_the_float_network(network, prepared, onnx_samples) -> None:
    rows = onnx_samples[:8]
    with Runner(prepared) as before, Runner(network.model) as after:
        pairs = [(before({"image": row[None]})["scores"], after({"image": row[None]})["scores"]) for row in rows]
    wanted, got = (np.concatenate(side).astype(np.float64) for side in zip(*pairs, strict=True))
    expected = 10 * math.log10(np.square(wanted).sum() / np.square(wanted - got).sum())
    assert network.report.outputs["scores"] == pytest.approx(expected, abs=0.3)
    last = network.report.layers[-1]
    assert last.sqnr == pytest.approx(expected, abs=0.3)
    assert network.report.agreement == pytest.approx((wanted.argmax(1) == got.argmax(1)).mean(), abs=1e-9)


def test_noise_of_a_weight_by_itself(onnx_network, onnx_samples, prepared) -> None:
    network = Quantizer(onnx_network, calibration=onnx_samples, recipe="plain", progress=False).optimize()
    unit = next(u for u in network.model.units() if u.name == "last")
    weight = unit.inputs[1]
    original = prepared.graph.initializers["w4"].const_value.numpy()
    error = original - weight.qparams.dequantize(weight.value.const_value.numpy())
    expected = 10 * math.log10(np.square(original).sum() / np.square(error).sum())
    assert network.report.layers[-1].weight_sqnr == pytest.approx(expected, abs=1e-3)


def test_units_in_float_say_why(onnx_network, onnx_samples) -> None:
    network = Quantizer(
        onnx_network, calibration=onnx_samples, config={"tensor_core": True}, recipe="plain", progress=False
    ).optimize()
    first = network.report.layers[0]
    assert (first.precision, first.is_quantized) == ("float32", False)
    assert "do not fill matrix units" in first.reason
    assert "do not fill matrix units" in network.report.html()


def test_spreads_hold_every_value_once(prepared, onnx_samples) -> None:
    table = [discover().resolve("cpu")[0].capabilities(discover().resolve("cpu")[1])]
    recipe = derive_recipe(prepared, table, CalibratorSpec("percentile", (("percentile", 90.0),)))
    calibration = calibrate(prepared, recipe, [{"image": onnx_samples}])
    model = apply_recipe(prepared, recipe, calibration)
    (spread,) = spreads_of(model, calibration, ("image", "nothing"))
    assert sum(spread.counts) == onnx_samples.size
    outside = ((onnx_samples < spread.low) | (onnx_samples > spread.high)).mean()
    assert spread.clipped == pytest.approx(outside, abs=0.01)
    assert spread.clipped > 0.05
    assert spread.start <= onnx_samples.min()
    assert spread.start + len(spread.counts) * spread.width >= onnx_samples.max()


class Page(HTMLParser):
    """Checks that tags are balanced, and collects what would reach beyond the page."""

    VOID = frozenset(("meta", "br", "rect", "line", "circle", "i"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("href", "src", "srcset", "data", "action")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(network) -> None:
    html = network.report.html()
    page = Page()
    page.feed(html)
    assert page.open == []
    assert page.links == []
    assert not {"script", "iframe", "img", "link", "object"} & page.tags
    assert "svg" in page.tags
    assert "url(" not in html
    assert "http" not in html
    for found in network.report.layers:
        assert found.name in html
    assert "The budget is missed" in html
    assert html.count("<circle") == sum(found.sqnr is not None for found in network.report.layers)
    assert "nan" not in re.sub(r"<style>.*</style>", "", html, flags=re.S).lower()


def test_names_cannot_break_the_page() -> None:
    evil = '<script>alert("x")</script>'
    attempt = Attempt(evil, evil, 1.0, (None, 3.0), (None, None), evil)
    said = (Note(evil, evil, evil, {evil: 1.0}),)
    html = report(
        layer(evil, reason=evil), name=evil, notes=(evil,), log=said, attempts=(attempt,), steps=(evil,)
    ).html()
    assert "<script" not in html
    Page().feed(html)


def test_figures_that_are_no_numbers() -> None:
    odd = report(layer(sqnr=math.inf), layer("b", sqnr=-math.inf), layer("c", sqnr=None, float_bytes=0))
    page = Page()
    page.feed(odd.html())
    assert page.open == []
    assert "exact" in str(odd)
    assert json.loads(json.dumps(odd.to_json(), allow_nan=False))["layers"][0]["sqnr"] is None
    empty = report(outputs={})
    Page().feed(empty.html())
    assert empty.sqnr == math.inf
    assert [decibels(x) for x in (None, math.inf, -math.inf, math.nan, 3.14)] == ["–", "exact", "–", "–", "3.1"]
    assert [decibels(x, " dB") for x in (3.14, math.inf)] == ["3.1 dB", "exact"]
    assert [size(x) for x in (5, 2048, 3 << 20, 5 << 30)] == ["5 B", "2.0 KiB", "3.0 MiB", "5.0 GiB"]


def test_the_report_is_saved_as_page_and_as_figures(network, tmp_path) -> None:
    network.report.save(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == network.report.html()
    network.report.save(tmp_path / "report.json")
    figures = json.loads((tmp_path / "report.json").read_text())
    assert figures["shortfall"] == network.report.shortfall
    assert [found["name"] for found in figures["layers"]] == [found.name for found in network.report.layers]


def test_the_text_lists_every_layer(network) -> None:
    lines = str(network.report).splitlines()
    for found in network.report.layers:
        assert any(line.startswith(found.name) for line in lines)
    assert "budget missed: output SQNR" in str(network.report)
