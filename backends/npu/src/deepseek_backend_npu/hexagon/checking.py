"""Holds one random unit's claim against QNN's own placement, and its numbers against the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_backend_npu.hexagon.claims import claim_hexagon
from deepseek_backend_npu.hexagon.compiler import compile_hexagon
from deepseek_backend_npu.hexagon.expectations import hexagon_expectations
from deepseek_backend_npu.hexagon.runtime import open_hexagon
from deepseek_backend_npu.verification.sampling import Sample
from deepseek_core import CompileOptions, QuantizedModel, Target, Unit, discover
from deepseek_core.errors import BackendError

__all__ = ["Verdict", "check", "unsigned"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a unit.

    Attributes:
        claimed: whether the backend claims it.
        placed: whether QNN places all of it on the HTP; not asked for a unit that is not claimed.
        reason: of the refusal, or QNN's error.
        distance: largest difference from the reference in codes.
        allowed: what is declared of it.
        equal: share of codes that are the reference's.
    """

    claimed: bool
    placed: bool = False
    reason: str = ""
    distance: int = 0
    allowed: int = 0
    equal: float = 1.0

    @property
    def agrees(self) -> bool:
        return self.claimed == self.placed and self.distance <= self.allowed


def unsigned(sample: Sample) -> Sample:
    """The same with uint8 codes where it has int8 ones; its weights stay as they are."""
    model = sample.model.clone()
    done: dict[ir.Value, ir.Value] = {}
    for node in model.graph:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or node.inputs[0].const_value is not None:  # type: ignore[union-attr]
            continue
        codes, zero = node.inputs[0] if node.op_type == "DequantizeLinear" else node.outputs[0], node.inputs[2]
        assert codes is not None
        assert zero is not None
        if codes.dtype is not ir.DataType.INT8:
            continue
        codes.type = ir.TensorType(ir.DataType.UINT8)
        if zero not in done:
            done[zero] = _shifted(model, zero)
        node.replace_input_with(2, done[zero])
    feeds = {name: (a.view(np.uint8) ^ 128 if a.dtype == np.int8 else a) for name, a in sample.feeds.items()}
    return Sample(sample.op, model, feeds, f"{sample.text} uint8")


def _shifted(model: QuantizedModel, zero: ir.Value) -> ir.Value:
    assert zero.const_value is not None
    tensor = ir.tensor(zero.const_value.numpy().view(np.uint8) ^ 128, name=f"{zero.name}/unsigned")
    value = ir.Value(name=tensor.name, const_value=tensor, shape=zero.shape, type=ir.TensorType(tensor.dtype))
    model.graph.register_initializer(value)
    return value


def check(sample: Sample, target: Target) -> Verdict:
    """Claim; where claimed, prepare and simulate."""
    reasons: list[str] = []

    def refuse(unit: Unit, reason: str) -> None:
        reasons.append(reason)

    claim_hexagon(sample.model, target, refuse)
    if reasons:
        return Verdict(False, reason=reasons[0])
    try:
        executable = open_hexagon(compile_hexagon(sample.model, target, CompileOptions()), None)
    except BackendError as error:
        return Verdict(True, False, error.message)
    actual = executable.run(sample.feeds)
    differences = np.concatenate([np.abs(_difference(actual[n], a)).reshape(-1) for n, a in _expected(sample).items()])
    allowed = hexagon_expectations(target).tolerance(sample.op).lsb
    return Verdict(True, True, "", int(differences.max(initial=0)), int(allowed), float((differences == 0).mean()))


def _difference(actual: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.int64]:
    if actual.shape != expected.shape:
        return np.array([np.iinfo(np.int32).max])
    return actual.astype(np.int64) - expected.astype(np.int64)


def _expected(sample: Sample) -> dict[str, NDArray[Any]]:
    backend, target = discover().resolve("reference")
    return backend.load(backend.compile(sample.model, target, CompileOptions())).run(sample.feeds)
