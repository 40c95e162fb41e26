"""Child process: Arm's TOSA reference model. Request: graph, then for each input dtype, shape, bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from deepseek_backend_npu.serving import serve

__all__: list[str] = []


def _answer(request: list[bytes]) -> Sequence[bytes]:
    import tosa_reference_model

    graph, *rest = request
    arrays = [
        np.frombuffer(data, kind.decode()).reshape(json.loads(shape))
        for kind, shape, data in zip(rest[::3], rest[1::3], rest[2::3], strict=True)
    ]
    outputs, status = tosa_reference_model.run(graph, arrays)
    if status != tosa_reference_model.GraphStatus.TOSA_VALID:
        raise RuntimeError(f"Arm's TOSA model refuses the graph ({status})")
    return [np.ascontiguousarray(output).tobytes() for output in outputs]


if __name__ == "__main__":
    serve(_answer)
