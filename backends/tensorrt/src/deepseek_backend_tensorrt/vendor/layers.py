"""The layers of a built engine, from the inspector's JSON or, where there is no GPU, from the builder's log.

Both say the same: name, kind, the types of the tensors that cross each layer's border, and the ONNX nodes in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

__all__ = ["from_json", "from_log"]

_NODES = re.compile(r"\[ONNX Layer: ([^\]\x1e\x1f]*)\]")
_TENSOR = re.compile(r"(?:Datatype: (?P<type>\w+)|Format/Datatype: (?P<form>[^,}\]]*))")
_HEAD = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>[^,]*), Inputs: \[")
_TYPES = (
    ("INT8", "int8"),
    ("FP8", "float8"),
    ("INT4", "int4"),
    ("FP4", "float4"),
    ("BF16", "bfloat16"),
    ("BFLOAT", "bfloat16"),
    ("FP16", "float16"),
    ("HALF", "float16"),
    ("INT64", "int64"),
    ("INT32", "int32"),
    ("BOOL", "bool"),
    ("FP32", "float32"),
    ("FLOAT", "float32"),
)


def from_json(text: str) -> list[dict[str, Any]]:
    """Layers from `EngineInspector.get_engine_information`; only names where the engine has no more.

    TensorRT separates the nodes of a layer by control characters, which it does not escape.
    """
    found = []
    for layer in json.loads(text, strict=False).get("Layers", ()):
        if isinstance(layer, str):
            found.append(_layer(layer, ""))
            continue
        sides = [[_type(tensor) for tensor in layer.get(side, ())] for side in ("Inputs", "Outputs")]
        found.append(
            _layer(
                layer.get("Name", ""),
                layer.get("LayerType", ""),
                sides,
                str(layer.get("TacticName", "")),
                str(layer.get("Metadata", "")),
            )
        )
    return found


def from_log(text: str) -> list[dict[str, Any]]:
    """Layers from the `Layers:` message of a builder with a verbose logger."""
    return [layer for layer in map(_line, text.splitlines()) if layer is not None]


def _line(line: str) -> dict[str, Any] | None:
    head = _HEAD.match(line)
    if head is None:
        return None
    body, _, tail = line[head.end() :].partition("], TacticName: ")
    inputs, _, outputs = body.partition("], Outputs: [")
    inputs = inputs.partition("], Constants: [")[0]
    sides = [
        [_named(found["type"] or found["form"] or "") for found in _TENSOR.finditer(side)] for side in (inputs, outputs)
    ]
    return _layer(head["name"], head["kind"], sides, tail.partition(", StreamId")[0], tail.rpartition("Metadata: ")[2])


def _layer(
    name: str, kind: str, sides: Sequence[list[str]] = ([], []), tactic: str = "", metadata: str = ""
) -> dict[str, Any]:
    inputs, outputs = sides
    nodes = list(dict.fromkeys(_NODES.findall(metadata)))
    return {"name": name, "kind": kind, "inputs": inputs, "outputs": outputs, "tactic": tactic, "nodes": nodes}


def _type(tensor: dict[str, Any]) -> str:
    return _named(str(tensor.get("Datatype") or tensor.get("Format/Datatype") or ""))


def _named(text: str) -> str:
    upper = text.upper()
    return next((name for word, name in _TYPES if word in upper), text)
