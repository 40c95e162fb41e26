"""Ask QNN, in child processes: prepare a graph for a version, run what was prepared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.versions import QNN_FIX, qnn_problem
from deepseek_backend_npu.worker import call
from deepseek_core.errors import BackendError

__all__ = ["prepare", "run_context"]

_PREPARE, _RUN = "hexagon.prepare_worker", "hexagon.run_worker"


def prepare(model: bytes, version: int) -> bytes:
    """An ONNX model whose nodes are QNN's contexts, for one version.

    Args:
        model: ONNX, in the form of `vendor`.

    Raises:
        BackendError: QNN is not here, or does not place every node.
    """
    _require()
    try:
        (context,) = call(_PREPARE, [str(version).encode(), model])
    except BackendError as error:
        raise BackendError(
            f"QNN cannot place this part on the HTP ({error.message})", fix="place its units on another target"
        ) from None
    return context


def run_context(context: bytes, version: int, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Outputs of a prepared model, in order.

    Raises:
        BackendError: QNN is not here, or refuses the context.
    """
    _require()
    digest, number = hashlib.sha256(context).digest(), str(version).encode()
    request = [b"run", digest]
    for name, array in feeds.items():
        shape = json.dumps(array.shape).encode()
        request += [name.encode(), array.dtype.str.encode(), shape, np.ascontiguousarray(array).tobytes()]
    state, *parts = call(_RUN, request)
    if state == b"unknown":  # a child that is new, or has opened others since
        call(_RUN, [b"open", digest, number, context])
        _, *parts = call(_RUN, request)
    return [
        np.frombuffer(data, kind.decode()).reshape(json.loads(shape))
        for kind, shape, data in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    ]


def _require() -> None:
    problem = qnn_problem()
    if problem is not None:
        raise BackendError(problem, fix=QNN_FIX)
