"""Keeps apart what Vela 5.2.0 fuses wrongly, by a copy between the two.

Vela lets the reader of a slice read the larger tensor, and the writer of a part write into the joined one. Four of its
rewrites then forget the place. On Ethos-U55 and U65: of a rescaling of 32 bits into a product, also where each of
several readers gets a product of its own; and of a product of matrices. On all: of a reduction to three axes; and of a
rescaling of what has several writers into one for each. They take other elements, and write beyond the tensor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import replace
from math import prod

from deepseek_backend_npu.devices import Device
from deepseek_backend_npu.tosa import DType, Graph, Op, Tensor
from deepseek_backend_npu.tosa.graph import Operator

__all__ = ["kept_apart"]

_AXES = 4
_NARROW = (DType.INT8, DType.INT16)
_JOINED = (Op.CONCAT, Op.PAD)
_REDUCED = (Op.REDUCE_MAX, Op.REDUCE_SUM)
_RESCALING = (Op.CONV2D, Op.DEPTHWISE_CONV2D, Op.MATMUL, Op.REDUCE_SUM, Op.TRANSPOSE_CONV2D)
"""Operators that rescale their own result: a RESCALE behind them is no operation any more."""


def kept_apart(graph: Graph, device: Device) -> Graph:
    """The same graph with copies where the device's compiler needs them."""
    misplaced = set(_Fusions(graph, device).misplaced())
    if not misplaced:
        return graph
    result, copies = graph.emptied(), dict[str, Tensor]()
    for operator in graph.operators:
        result.operators.append(replace(operator, inputs=tuple(copies.get(x.name, x) for x in operator.inputs)))
        if operator.output.name in misplaced:
            copies[operator.output.name] = _copied(result, operator.output)
    return result


class _Fusions:
    """What the compiler fuses in a graph."""

    def __init__(self, graph: Graph, device: Device) -> None:
        self._operators = graph.operators
        self._is_older = device.family != "ethos-u85"
        self._readers = Counter(x.name for operator in graph.operators for x in operator.inputs)
        self._writers = {operator.output.name: operator for operator in graph.operators}

    def misplaced(self) -> Iterator[str]:
        """Names of tensors whose readers are to have a copy."""
        for operator in self._operators:
            for x in operator.inputs:
                writer = self._misplaced(operator, x)
                if writer is not None and writer.output.dtype in _NARROW:
                    yield writer.output.name

    def _misplaced(self, operator: Operator, x: Tensor) -> Operator | None:
        """The writer of an operator's input, where the two must not be one."""
        through = (Op.RESHAPE, Op.RESCALE) if operator.op in _REDUCED else (Op.RESHAPE,)
        writer = self._writer(x, through)
        if writer is None:
            return None
        if operator.op in _REDUCED:
            wrong = writer.op is Op.SLICE
        elif operator.op in _JOINED:
            wrong = self._forgets_its_place(writer)
        elif operator.op is Op.MATMUL:
            wrong = self._is_older and writer.op is Op.SLICE
        elif operator.op in (Op.RESHAPE, Op.SLICE):
            wrong = self._is_product(writer) and self._is_shared(writer.output, operator.output)
        else:
            wrong = self._is_product(operator) and writer.op in (Op.SLICE, *_JOINED)
        return writer if wrong else None

    def _forgets_its_place(self, writer: Operator) -> bool:
        """Whether the writer of a part of a joined tensor would write it elsewhere."""
        if writer.op is not Op.RESCALE:
            return writer.op in _REDUCED
        source = self._writer(writer.inputs[0], (Op.RESHAPE,))
        return self._is_product(writer) or (source is not None and source.op in (*_JOINED, *_REDUCED))

    def _is_shared(self, x: Tensor, form: Tensor) -> bool:
        """Whether a tensor is read more than once, itself or in another form."""
        return self._readers[x.name] > 1 or self._readers[form.name] > 1

    def _is_product(self, operator: Operator) -> bool:
        """Whether an operator is a rescaling of 32 bits that becomes a product."""
        if not self._is_older or operator.op is not Op.RESCALE:
            return False
        source = self._writers.get(operator.inputs[0].name)
        if source is not None and source.op in _RESCALING:
            return False
        return any(x.dtype not in _NARROW for x in (operator.inputs[0], operator.output))

    def _writer(self, x: Tensor, through: Container[Op]) -> Operator | None:
        """What computes a tensor, some operators aside."""
        writer = self._writers.get(x.name)
        while writer is not None and writer.op in through:
            writer = self._writers.get(writer.inputs[0].name)
        return writer


def _copied(graph: Graph, x: Tensor) -> Tensor:
    """A maximum over single elements: nothing fuses with it."""
    four = (1,) * (_AXES - len(x.shape)) + x.shape
    shape = (1, prod(four[:-2]), *four[-2:])
    image = _reshaped(graph, x, shape)
    copied = graph.add(Op.MAX_POOL2D, [image], shape, x.dtype, kernel=[1, 1], stride=[1, 1], pad=[0] * 4)
    return _reshaped(graph, copied, x.shape)


def _reshaped(graph: Graph, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    if x.shape == shape:
        return x
    return graph.add(Op.RESHAPE, [x, graph.shape(shape)], shape, x.dtype)
