"""Whatever ONNX Runtime's static quantizer writes: every type pair, format and granularity keeps its values."""

from __future__ import annotations

import importlib.util
import logging
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest

from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.serialize import to_bytes
from deepseek_core.reference import evaluate

quantization = pytest.importorskip("onnxruntime.quantization", reason="ONNX Runtime's quantizer makes these models")

TYPES = {"u8": "QUInt8", "s8": "QInt8", "u16": "QUInt16", "s16": "QInt16", "s4": "QInt4", "u4": "QUInt4"}
REFUSED = ("s8", "u8")
"""Signed activations with unsigned weights: the quantizer does not write that."""
QDQ = [
    c for c in product(["u8", "s8", "u16", "s16"], ["u8", "s8", "s4", "u4", "s16"], [False, True]) if c[:2] != REFUSED
]
QOPERATOR = [c for c in product(["u8", "s8"], ["u8", "s8"], [False, True]) if c[:2] != REFUSED]


@pytest.fixture(scope="module")
def make():
    """`data/make.py`, which has the float networks."""
    spec = importlib.util.spec_from_file_location("make", Path(__file__).parent / "data" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def quantized(make, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantized")

    def run(network, form, activation, weight, *, channels):
        model = getattr(make, network)()
        onnx.save(model, folder / "float.onnx")
        logging.disable(logging.WARNING)
        try:
            quantization.quantize_static(
                folder / "float.onnx",
                folder / "quantized.onnx",
                make.Reader(make.samples(model, 2)),
                quant_format=getattr(quantization.QuantFormat, form),
                activation_type=getattr(quantization.QuantType, TYPES[activation]),
                weight_type=getattr(quantization.QuantType, TYPES[weight]),
                per_channel=channels,
            )
        finally:
            logging.disable(logging.NOTSET)
        return (folder / "quantized.onnx").read_bytes(), make.samples(model, 1)[0]

    return run


def check(data, feeds, run_ort):
    model = load_model(onnx.ModelProto.FromString(data))
    steps = [float(o.qparams.scale.max()) for u in model.units() for o in u.inputs if o and o.qparams is not None]
    lsb = 1.001 * max(o.qparams.scale.max() for o in model.units()[-1].inputs if o and o.qparams is not None)
    assert steps
    assert not any(node.domain for node in model.graph)
    (theirs,) = run_ort(data, feeds)
    (canonical,) = run_ort(to_bytes(model), feeds)
    assert np.abs(theirs - canonical).max() <= lsb
    ours = evaluate(model, feeds)["y"]
    assert np.abs(theirs - ours).max() <= lsb
    return model


@pytest.mark.parametrize(("activation", "weight", "channels"), QDQ)
def test_qdq(*, activation, weight, channels, quantized, run_ort):
    network = "attention" if weight in ("s4", "u4", "s16") else "convnet"
    data, feeds = quantized(network, "QDQ", activation, weight, channels=channels)
    model = check(data, feeds, run_ort)
    types = {str(o.dtype) for u in model.units() for o in u.outputs if o.qparams is not None}
    assert types == {{"u8": "uint8", "s8": "int8", "u16": "uint16", "s16": "int16"}[activation]}


@pytest.mark.parametrize("network", ["convnet", "attention"])
@pytest.mark.parametrize(("activation", "weight", "channels"), QOPERATOR)
def test_qoperator(*, network, activation, weight, channels, quantized, run_ort):
    check(*quantized(network, "QOperator", activation, weight, channels=channels), run_ort)
