"""ONNX Runtime: one thread, all of its optimizations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import onnxruntime
from once import Feeds, main


def opened(model: str, feeds: Feeds) -> Callable[[], Sequence[Any]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return partial(session.run, None, feeds)


main(opened, warm=True)
