"""Layers as TensorRT tells them, and what they prove about units."""

import json

import pytest

from deepseek_backend_tensorrt.proof import prove
from deepseek_backend_tensorrt.vendor.layers import from_json, from_log

LOG = """Layers:
Name: c1_myl0_1, LayerType: correlation, Inputs: [ { Name: a, b, Dimensions: [1,4,8,8], Strides: [256,1,32,4], \
Datatype: Int8, Format: (NHWC) Channel major format }], Constants: [ { Name: w, Dimensions: [32,4,3,3], \
Datatype: Int8, Format: (NHWC) Channel major format }], Outputs: [ { Name: y, Dimensions: [1,32,8,8], \
Datatype: Float, Format: (NHWC) Channel major format }], TacticName: sm89_xmma, StreamId: 0, \
Metadata: [ONNX Layer: conv]\x1f[ONNX Layer: x/q]
Name: __mye1, LayerType: signal, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata: \n\
Name: conv + relu, LayerType: CaskConvolution, Inputs: [ { Name: x, Location: Device, Dimensions: [1,3], \
Format/Datatype: Thirty-two wide channel vectorized row major Int8 format }], Outputs: [ { Name: y, Location: Device, \
Dimensions: [1,3], Format/Datatype: Row major linear FP16 format }], TacticName: t, StreamId: 0, Metadata: \n\

I/O Tensors:
"""


def test_the_log_gives_types_at_borders_and_nodes() -> None:
    first, signal, old = from_log(LOG)
    assert first == {
        "name": "c1_myl0_1",
        "kind": "correlation",
        "inputs": ["int8"],
        "outputs": ["float32"],
        "tactic": "sm89_xmma",
        "nodes": ["conv", "x/q"],
    }, "the constant is no input"
    assert signal["kind"] == "signal"
    assert (old["inputs"], old["outputs"], old["nodes"]) == (["int8"], ["float16"], [])


def test_the_inspector_says_the_same_and_names_alone_are_no_error() -> None:
    layer = {
        "Name": "fc",
        "LayerType": "gemm",
        "Inputs": [{"Name": "x", "Datatype": "FP8"}],
        "Outputs": [{"Name": "y", "Format/Datatype": "Row major linear FP32"}],
        "TacticName": "t",
        "Metadata": "[ONNX Layer: head]\x1e[ONNX Layer: head]",
    }
    found = from_json(json.dumps({"Layers": [layer, "only a name"]}))
    assert (found[0]["inputs"], found[0]["outputs"], found[0]["nodes"]) == (["float8"], ["float32"], ["head"])
    assert (found[1]["name"], found[1]["inputs"]) == ("only a name", [])
    assert from_json("{}") == []
    raw = json.dumps({"Layers": [layer]}).replace("\\u001e", "\x1e")
    assert "\x1e" in raw
    assert from_json(raw)[0]["nodes"] == ["head"], "control characters come unescaped"


@pytest.mark.parametrize(
    ("kind", "inputs", "verdict"),
    [
        ("correlation", ["int8"], "ran"),
        ("CaskConvolution", ["int8", "int8"], "ran"),
        ("correlation", ["float16"], "missed"),
        ("correlation", ["float32", "int8"], "missed"),
        ("kgen", ["int8"], "missed"),
        ("Myelin", ["int8"], "ran"),
        ("Myelin", ["float32"], "opaque"),
    ],
)
def test_a_convolution_counts_by_what_its_multiplying_layer_reads(network, kind, inputs, verdict) -> None:
    others = [
        {"name": f"layer of {unit.name}", "kind": "gemm", "inputs": ["int8"], "outputs": ["int8"], "nodes": [unit.name]}
        for unit in network.units()
        if unit.name != "first"
    ]
    judged = {"name": "judged", "kind": kind, "inputs": inputs, "outputs": ["float32"], "nodes": ["first"]}
    proof = prove(network, [*others, judged], "test", frozenset())
    assert [name for name in ("ran", "missed", "opaque") if "first" in getattr(proof, name)] == [verdict]
    total = len(proof.ran) + len(proof.missed) + len(proof.opaque)
    assert proof.share == pytest.approx(len(proof.ran) / total)
    assert {"x/quantize", "head/dequantize"}.isdisjoint(proof.ran), "conversions are no units that run on codes"


def test_units_compiled_in_float_and_lost_units_are_told(network) -> None:
    proof = prove(network, [], "test", frozenset(["second"]))
    assert proof.missed["second"] == "compiled in float"
    assert proof.missed["first"] == "no layer is left of it"
    assert proof.ran["join"] == "no layer is left of it", "moves may vanish"


def test_what_is_inside_of_a_subgraph_that_is_not_shown_is_not_proven(network) -> None:
    layer = {"name": "{ForeignNode[stem...head]}", "kind": "Myelin", "inputs": ["float32"], "outputs": [], "nodes": []}
    proof = prove(network, [layer], "test", frozenset())
    assert not proof.ran
    assert not proof.missed
    assert proof.share == 0
    assert "ForeignNode" in proof.opaque["join"]


def test_attention_counts_only_when_both_sides_of_each_product_are_codes(network) -> None:
    layer = {"name": "_gemm_mha_v2", "kind": "kgen", "outputs": ["int8"], "nodes": ["first"]}
    shown = prove(network, [{**layer, "inputs": ["int8", "float16"]}], "test", frozenset())
    assert "first" in shown.ran
    hidden = prove(network, [{**layer, "inputs": ["float16", "float16"]}], "test", frozenset())
    assert "_gemm_mha_v2 (kgen) reads float16" in hidden.missed["first"]
