"""Run a TOSA graph in Arm's reference model, which defines what every Ethos-U must compute (tier `reference`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.lowering.program import Border
from deepseek_backend_npu.tosa.schema import NUMPY
from deepseek_backend_npu.versions import REFERENCE_FIX, reference_version
from deepseek_backend_npu.worker import call
from deepseek_core.errors import BackendError

__all__ = ["run_reference"]


def run_reference(tosa: bytes, arrays: Sequence[NDArray[Any]], results: Sequence[Border]) -> list[NDArray[Any]]:
    """Outputs of the graph, in order.

    Raises:
        BackendError: the model is missing, or refuses the graph.
    """
    if reference_version() is None:
        raise BackendError("Arm's TOSA reference model is not installed", fix=REFERENCE_FIX)
    request = [tosa]
    for array in arrays:
        request += [array.dtype.str.encode(), json.dumps(array.shape).encode(), np.ascontiguousarray(array).tobytes()]
    answer = call("reference_worker", request)
    return [
        np.frombuffer(data, NUMPY[border.dtype]).reshape(border.shape)
        for data, border in zip(answer, results, strict=True)
    ]
