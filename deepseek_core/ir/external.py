"""Tensors stored beside the model file: found, measured, mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from deepseek_core.errors import ModelError
from deepseek_core.ir.checks.report import where

__all__ = ["attach_external"]


def attach_external(model: ir.Model, folder: Path | None) -> None:
    """Replace references to external files by memory-mapped tensors, in place.

    Args:
        folder: the folder of the model file; None for a model that has no place, which may not have external data.

    Raises:
        ModelError: a file outside the folder, missing, or too short for the tensor.
    """
    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = _mapped(value.const_value, folder, where(value))
    for node in model.graph.all_nodes():
        for name, attribute in list(node.attributes.items()):
            if attribute.type is ir.AttributeType.TENSOR and isinstance(attribute.value, ir.ExternalTensor):
                tensor = _mapped(attribute.value, folder, f"{where(node)}, tensor in '{name}'")
                node.attributes[name] = ir.AttrTensor(name, tensor)


def _mapped(tensor: ir.ExternalTensor, folder: Path | None, place: str) -> ir.TensorProtocol:
    path = _inside(folder, str(tensor.location), place)
    offset = tensor.offset or 0
    needed = tensor.nbytes
    if not path.is_file():
        raise ModelError(f"{place}: its data file '{path}' is missing", fix="put the file beside the model")
    if tensor.length not in (None, 0, needed) or offset < 0 or path.stat().st_size < offset + needed:
        raise ModelError(
            f"{place}: needs {needed} bytes at offset {offset} of '{path}', which does not have them",
            fix="copy the data file again; it may be truncated",
        )
    if needed == 0:
        return ir.Tensor(np.zeros(tensor.shape.numpy(), tensor.dtype.numpy()), name=tensor.name)
    opened = ir.ExternalTensor(
        path.name, offset, needed, tensor.dtype, shape=tensor.shape, name=tensor.name or "", base_dir=path.parent
    )
    return ir.Tensor(opened.numpy(), dtype=tensor.dtype, shape=tensor.shape, name=tensor.name)


def _inside(folder: Path | None, location: str, place: str) -> Path:
    """The file, when it really lies in the model's folder (links are followed before the comparison)."""
    if folder is None:
        raise ModelError(
            f"{place}: its data is in the external file '{location}'",
            fix="load the model from its path, not from bytes",
        )
    root = folder.resolve()
    try:
        path = (root / location).resolve()
    except (OSError, ValueError, RuntimeError):
        path = None
    if path is None or "\0" in location or not location or not path.is_relative_to(root):
        raise ModelError(
            f"{place}: its data file '{location}' lies outside the model's folder", fix="put the file beside the model"
        )
    return path
