"""How every network is run: one ONNX Runtime session set-up for all.

Graph optimizations stay at the basic level, so that Q and DQ nodes compute what ONNX defines: the fused integer kernels
of the higher levels would add the rounding and saturation of the machine that happens to run the benchmark.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

__all__ = ["Array", "Feeds", "Run", "runner"]

Array = NDArray[Any]
Feeds = dict[str, Array]
Run = Callable[[Feeds], dict[str, Array]]


def runner(model: Path) -> Run:
    """A function that runs `model` on feeds and gives its outputs by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    wanted = {info.name for info in session.get_inputs()}

    def run(feeds: Feeds) -> dict[str, Array]:
        given = {name: value for name, value in feeds.items() if name in wanted}
        return dict(zip(names, session.run(None, given), strict=True))

    return run
