"""The ONNX front end: a path, bytes or a model in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from deepseek.quantization.frontends.named import NamedCalls
from deepseek.quantization.frontends.network import Network
from deepseek_core import QuantizedModel
from deepseek_core.errors import ConfigError
from deepseek_core.ir.frontend import load_model

__all__ = ["open_onnx"]


def open_onnx(source: Any) -> Network:
    """A network of an ONNX file, its bytes, an `onnx.ModelProto` or a `QuantizedModel`.

    Raises:
        ModelError: it cannot be read.
        ConfigError: it is nothing of the kind.
    """
    if not isinstance(source, str | Path | bytes | onnx.ModelProto | QuantizedModel):
        kind = type(source).__name__
        raise ConfigError(f"the model is a {kind}", fix="give a torch.nn.Module, or the path of an ONNX file")
    model = source if isinstance(source, QuantizedModel) else load_model(source)
    name = Path(source).stem if isinstance(source, str | Path) else model.graph.name or "model"
    return Network(model, NamedCalls(model), name)
