"""What of a model really runs on codes, read from the layers of the built engine and not from what was asked for.

A unit that accumulates runs on codes when the layer that multiplies for it reads codes only. Any other quantized unit
does when codes cross the border of a layer that holds it; its arithmetic is then fused with what is beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deepseek_core import DType, QuantizedModel, Role, Unit

__all__ = ["Proof", "prove"]

_CODES = ("int8", "float8", "int4", "float4")
_REAL = ("float32", "float16", "bfloat16")
_ACCUMULATE = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_FUSED = ("kgen", "PointWise", "PointWiseV2", "Reformat", "signal", "wait", "NoOp")
"""Kinds of layers that compute element by element, and multiply no matrices unless their names say so."""
_ATTENTION = ("mha",)
_PRODUCTS = ("gemm", "gemv", "conv", *_ATTENTION)


@dataclass(frozen=True, slots=True)
class Proof:
    """Units by what they run on.

    Attributes:
        ran: quantized units that run on codes → the layer that shows it.
        missed: the other quantized units → why.
        opaque: quantized units in layers whose inside TensorRT does not show → the layer.
        source: where the layers were read.
    """

    ran: Mapping[str, str] = field(default_factory=dict)
    missed: Mapping[str, str] = field(default_factory=dict)
    opaque: Mapping[str, str] = field(default_factory=dict)
    source: str = ""

    @property
    def share(self) -> float:
        """Of the quantized units, those that are shown to run on codes; 1 where there are none."""
        total = len(self.ran) + len(self.missed) + len(self.opaque)
        return len(self.ran) / total if total else 1.0

    def to_json(self) -> dict[str, object]:
        return {
            "share": round(self.share, 4),
            "units": len(self.ran) + len(self.missed) + len(self.opaque),
            "missed": dict(self.missed),
            "opaque": dict(self.opaque),
            "source": self.source,
        }


def prove(model: QuantizedModel, layers: Sequence[Mapping[str, Any]], source: str, plain: frozenset[str]) -> Proof:
    """Judge every unit with quantized data; `plain` are those that were compiled in float on purpose."""
    holders: dict[str, list[Mapping[str, Any]]] = {}
    for layer in layers:
        for node in layer["nodes"] or _names(layer["name"]):
            holders.setdefault(node, []).append(layer)
    hidden = [layer for layer in layers if _is_hidden(layer) and not layer["nodes"]]
    ran: dict[str, str] = {}
    missed: dict[str, str] = {}
    opaque: dict[str, str] = {}
    for unit in model.units():
        if not _computes_on_codes(unit):
            continue
        if unit.name in plain:
            missed[unit.name] = "compiled in float"
            continue
        found = [layer for node in unit.nodes for layer in holders.get(node.name or "", ())]
        found = list({layer["name"]: layer for layer in found}.values()) or hidden
        verdict, text = _judge(unit, found)
        {"ran": ran, "missed": missed, "opaque": opaque}[verdict][unit.name] = text
    return Proof(ran, missed, opaque, source)


def _computes_on_codes(unit: Unit) -> bool:
    """Whether the unit reads codes: a lone Q or DQ, and a float unit that only writes them, do not count."""
    data = unit.operands(Role.DATA)
    types = (DType.INT8, DType.FLOAT8E4M3FN)
    is_conversion = unit.op in ("QuantizeLinear", "DequantizeLinear")
    return (
        not is_conversion
        and bool(data)
        and all(o.qparams is not None and o.qparams.scheme.dtype in types for o in data)
    )


def _judge(unit: Unit, layers: list[Mapping[str, Any]]) -> tuple[str, str]:
    if not layers:
        return "ran" if unit.op not in _ACCUMULATE else "missed", "no layer is left of it"
    if unit.op not in _ACCUMULATE:
        shown = next((layer for layer in layers if _touches(layer, _CODES)), None)
        if shown is not None:
            return "ran", shown["name"]
        return _without_codes(layers)
    shown = next((layer for layer in layers if _multiplies(layer) and _reads_codes(unit, layer)), None)
    return ("ran", shown["name"]) if shown is not None else _without_codes(layers)


def _multiplies(layer: Mapping[str, Any]) -> bool:
    """Whether a layer is more than arithmetic on elements; generated kernels say so in their names."""
    name = layer["name"].lower()
    return layer["kind"] not in _FUSED or any(word in name for word in _PRODUCTS)


def _reads_codes(unit: Unit, layer: Mapping[str, Any]) -> bool:
    """The data come first; attention in one kernel reads all of its codes, beside a mask in float."""
    data = [kind for kind in layer["inputs"] if kind in (*_CODES, *_REAL)]
    if unit.operands(Role.WEIGHT) or not any(word in layer["name"] for word in _ATTENTION):
        return bool(data) and data[0] in _CODES
    return sum(kind in _CODES for kind in data) >= len(unit.operands(Role.DATA))


def _without_codes(layers: list[Mapping[str, Any]]) -> tuple[str, str]:
    hidden = next(filter(_is_hidden, layers), None)
    if hidden is not None:
        return "opaque", f"inside {hidden['name']}, whose layers TensorRT does not show"
    first = next(filter(_multiplies, layers), layers[0])
    types = ", ".join(dict.fromkeys(kind for kind in first["inputs"] if kind in _REAL)) or "no codes"
    return "missed", f"{first['name']} ({first['kind']}) reads {types}"


def _is_hidden(layer: Mapping[str, Any]) -> bool:
    """A subgraph that TensorRT compiles as one, and of whose nodes 8.6 names the first and last."""
    return layer["kind"] == "Myelin" or "ForeignNode" in layer["name"]


def _touches(layer: Mapping[str, Any], kinds: tuple[str, ...]) -> bool:
    return any(kind in kinds for kind in (*layer["inputs"], *layer["outputs"]))


def _names(name: str) -> list[str]:
    """ONNX nodes in the name of a layer where there is no metadata: `conv1 + add + relu`."""
    return [part.strip() for part in name.split(" + ")]
