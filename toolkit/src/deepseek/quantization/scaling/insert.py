"""A Mul in front of layers whose input cannot be scaled where it is made."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.edit import set_constant
from deepseek_core import QuantizedModel
from deepseek_core.ir.canonical.edit import Editor
from deepseek_core.ir.query import constant

__all__ = ["insert_factors"]


def insert_factors(model: QuantizedModel, value: str, readers: Collection[str], factors: NDArray[np.float64]) -> None:
    """Let matrix products read `value` times `factors`, and divide their weights by them; in place.

    Args:
        model: float; the value keeps its name for everybody else.
        value: what the products read.
        readers: names of MatMul or Gemm nodes with a constant weight of rank 2.
        factors: float64 [K].
    """
    nodes = [node for node in model.graph if node.name in readers]
    source = nodes[0].inputs[0]
    assert source is not None
    editor = Editor(model.model)
    constant_factors = editor.initializer(model.graph, f"{value}_factors", factors.astype(np.float32))
    inputs = [source, constant_factors]
    scaled = editor.node(
        "Mul",
        inputs,
        before=nodes[0],
        name=f"{value}/smooth",
        output=f"{value}_smooth",
        dtype=source.dtype,
        shape=source.shape,
    )
    for node in nodes:
        node.replace_input_with(0, scaled)
        array = constant(node.inputs[1])
        assert array is not None
        flipped = node.op_type == "Gemm" and bool(node.attributes.get_int("transB", 0))
        divisor = factors if flipped else factors[:, None]
        set_constant(model.model, node, 1, (array / divisor).astype(np.float32))
