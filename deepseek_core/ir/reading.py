"""From a path or bytes to an ONNX protobuf message, with a plain word when it is something else."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from deepseek_core.errors import ModelError

__all__ = ["parse", "read_file"]

_LARGEST = (1 << 31) - 1
"""Bytes of one protobuf message."""

_EXPORT = "export the model to ONNX, for example with torch.onnx.export"
_OTHERS = (
    (0, b"PK\x03\x04", "a zip archive (a PyTorch checkpoint, or a .ds package)", _EXPORT),
    (0, b"\x1f\x8b", "gzip-compressed", "unpack it first"),
    *((0, bytes((0x80, version)), "a pickle", _EXPORT) for version in (2, 3, 4, 5)),
    (0, b"\x89HDF", "an HDF5 (Keras) file", "convert it with tf2onnx"),
    (4, b"TFL3", "a TensorFlow Lite model", "convert it with tf2onnx"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the model itself", "fetch the file with git lfs pull"),
)


def read_file(path: Path) -> bytes:
    """The whole file.

    Raises:
        ModelError: it is not there, is a folder, cannot be read, or is larger than a protobuf message can be.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ModelError(f"'{path}' is larger than 2 GiB", fix="save its weights as external data")
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"there is no file '{path}'", fix="check the path") from None
    except IsADirectoryError:
        raise ModelError(f"'{path}' is a folder", fix="name the .onnx file in it") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"'{path}' cannot be read: {error}", fix="check the path and its permissions") from None


def parse(data: bytes, name: str) -> onnx.ModelProto:
    """Decode a model; a message without a graph is no model.

    Args:
        name: what to call the source in an error.

    Raises:
        ModelError: the bytes are empty, truncated, corrupt or another kind of file.
    """
    if not data:
        raise ModelError(f"{name} is empty", fix="export or download the model again")
    for offset, magic, kind, fix in _OTHERS:
        if data[offset : offset + len(magic)] == magic:
            raise ModelError(f"{name} is {kind}, not an ONNX model", fix=fix)
    try:
        proto: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError:
        raise ModelError(
            f"{name} is not an ONNX model, or is truncated or corrupt", fix="export or download the model again"
        ) from None
    if not proto.HasField("graph") or not (proto.graph.output or proto.graph.node):
        raise ModelError(f"{name} holds no graph", fix="export or download the model again")
    return proto
