"""A model as bytes: an ordinary ONNX file, the same bytes for the same model."""

from __future__ import annotations

import json
from pathlib import Path

import onnx_ir as ir

from deepseek_core.atomic import atomic_write
from deepseek_core.errors import ModelError
from deepseek_core.ir.model import QuantizedModel

__all__ = ["save", "to_bytes", "unpack_metadata"]

_KEY = "deepseek.metadata"
_LARGEST = (1 << 31) - 1
"""Bytes of one protobuf message."""


def to_bytes(model: QuantizedModel) -> bytes:
    """The model as an ONNX file with its metadata as a JSON property; `load_model` reads both back.

    Equal models (same graph, names, node order and metadata) give equal bytes.

    Raises:
        ModelError: the constants alone exceed the 2 GiB of an ONNX file.
    """
    size = sum(v.const_value.nbytes for g in model.model.graphs() for v in g.initializers.values() if v.const_value)
    if size > _LARGEST:
        raise ModelError(
            f"the model's constants take {size} bytes, an ONNX file ends at {_LARGEST}", fix="save it as a .ds package"
        )
    proto = ir.to_proto(model.model)
    if model.metadata:
        proto.metadata_props.add(key=_KEY, value=json.dumps(model.metadata, sort_keys=True))
    return bytes(proto.SerializeToString(deterministic=True))


def save(model: QuantizedModel, path: str | Path) -> None:
    """Write `to_bytes` to a file, atomically.

    Raises:
        ModelError: the model is too large for an ONNX file.
        StorageError: the file cannot be written.
    """
    data = to_bytes(model)
    with atomic_write(path) as file:
        file.write(data)


def unpack_metadata(model: ir.Model) -> dict[str, object]:
    """Take the metadata that `to_bytes` added out of a model's properties; anything else there stays."""
    try:
        found = json.loads(model.metadata_props[_KEY])
    except (KeyError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    del model.metadata_props[_KEY]
    return found
