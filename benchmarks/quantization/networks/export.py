"""Networks as ONNX files of one opset, whether they come from torch or from older files."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["OPSET", "export", "upgrade"]

OPSET = 21


def export(
    network: Any,
    example: tuple[Any, ...],
    path: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: tuple[Any, ...] | None = None,
) -> None:
    """Write `network`, a `torch.nn.Module`, to `path`.

    Args:
        example: positional inputs.
        dynamic: for each input {axis: `torch.export.Dim`}.
    """
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.eval(),
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=dynamic,
            verbose=False,
        )
    assert program is not None
    path.write_bytes(program.model_proto.SerializeToString())


def upgrade(source: Path, target: Path) -> None:
    """Write the ONNX file `source` in the opset of the others: in older ones no weight can have a scale a channel."""
    import onnx
    from onnx import version_converter

    onnx.save(version_converter.convert_version(onnx.load(source), OPSET), target)
