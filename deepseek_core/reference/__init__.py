"""The reference backend: the IR's numerics, executable on NumPy alone.

It is the definition that every other backend is compared with: slow where being slow is clearer, never approximate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deepseek_core.ir.model import QuantizedModel

__all__ = ["evaluate"]


def evaluate(
    model: QuantizedModel, feeds: Mapping[str, NDArray[Any]], taps: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """Run a model once.

    Args:
        feeds: graph inputs by name.
        taps: names of values of the main graph to return beside the outputs. Looking at a value never
            changes another one.

    Returns:
        Outputs, then taps, by name; quantized ones as codes, the others as real numbers.

    Raises:
        FeedError: an input is missing or unknown.
        ModelError: a tap is no value of the main graph, or a node cannot run; the message names it.
    """
    from deepseek_core.reference.evaluator import Evaluator  # onnx and onnx-ir load only when something runs

    return Evaluator(model, taps).run(feeds)
