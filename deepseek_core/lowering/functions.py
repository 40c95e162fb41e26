"""Functions of one number, and the tables of codes that stand for them where codes have eight bits.

The functions are the reference backend's own, so a table holds what the IR defines, bit for bit.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.ir.ops import op_key
from deepseek_core.ir.opset import OPSET
from deepseek_core.ir.qparams import QParams, numpy_dtype
from deepseek_core.lowering.operands import scalar_of
from deepseek_core.reference.ops import Operation, bind

__all__ = ["UnaryFunction", "code_table"]


@dataclass(frozen=True, slots=True)
class UnaryFunction:
    """A function of each element of a tensor: `Sigmoid`, `LeakyRelu` with its slope, `Clip` with its bounds.

    Equal functions compare equal and hash alike, so what is computed of one can be cached.

    Attributes:
        op: op key, as capability tables write it.
        attributes: name and value (number or text) of those that are set, sorted by name.
        constants: the inputs behind the first, in their order; None for one that is left out.
    """

    op: str
    attributes: tuple[tuple[str, Any], ...] = ()
    constants: tuple[float | None, ...] = ()

    @classmethod
    def of(cls, node: ir.Node) -> UnaryFunction:
        """That of a node.

        Raises:
            BackendError: an input behind the first is not constant, or has more than one element.
        """
        attributes = tuple(sorted((name, attribute.value) for name, attribute in node.attributes.items()))
        return cls(op_key(node), attributes, tuple(scalar_of(node, place) for place in range(1, len(node.inputs))))

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """Results for float32 `x` of any shape, as the reference backend has them; float64 gives float64.

        Raises:
            ModelError: no reference implementation of the operator.
        """
        constants = (None if number is None else np.asarray(number, x.dtype) for number in self.constants)
        with np.errstate(all="ignore"):  # infinities and NaN are results
            (y,) = _operation(self)(x, *constants)
        return np.asarray(y)


@functools.lru_cache(maxsize=256)
def _operation(function: UnaryFunction) -> Operation:
    domain, _, name = function.op.rpartition("::")
    values = [ir.Value(name="x"), *(None if n is None else ir.Value(name="constant") for n in function.constants)]
    return bind(ir.node(name, values, dict(function.attributes), domain=domain), {domain: 1, "": OPSET})


def code_table(source: QParams, target: QParams, function: UnaryFunction | None = None) -> NDArray[Any]:
    """The code of `target` for each code of `source`: [256], indexed by the code's byte.

    Entry 255 belongs to code 255 of uint8, and to -1 of int8; `numpy.roll(table, 128)` begins with -128.

    Args:
        source: of 8-bit codes, per tensor.
        target: per tensor, any integer type.
        function: applied to the real numbers in between; None for a change of parameters alone.

    Raises:
        ValueError: other parameters than those.
    """
    if source.scheme.dtype.bits != 8 or source.scale.size != 1 or target.scale.size != 1:
        raise ValueError(f"a table from {source.scheme} to {target.scheme}")
    real: NDArray[Any] = source.dequantize(np.arange(256, dtype=np.uint8).view(numpy_dtype(source.scheme.dtype)))
    return target.quantize(real if function is None else function(real))
