"""Random graphs of a few units around shared values: which memory holds which value, in which order, for how long.

Cases of one unit at a time cannot tell. Here values have several readers and are outputs as well, moves lie between
units that want their axes in another order, and codes become real numbers in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.conformance.case import Case, Skipped
from deepseek_core.conformance.context import Context
from deepseek_core.conformance.forms.base import AttributeValue
from deepseek_core.conformance.graph import GraphWriter, Tensor
from deepseek_core.conformance.problem import Problem
from deepseek_core.expectations import Expectations, Tolerance
from deepseek_core.ir import QParams, QuantizedModel
from deepseek_core.ir.ops import moves_only
from deepseek_core.ir.qparams import numpy_dtype
from deepseek_core.scheme import DType, Granularity, QuantScheme
from deepseek_core.target import Capabilities

__all__ = ["wiring_cases"]

_CASES = 16
_UNITS, _TRIES = 10, 60
_START = (1, 8, 4, 6)
_SCALE, _SHARE = 0.05, 1 / 256
"""Of codes, and of those that stand for 0 to 1."""
_SHARES = ("Softmax", "Sigmoid")

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Node:
    """A unit of the graph.

    Attributes:
        inputs: numbers of the values it reads.
        shapes: of its outputs.
        constants: inputs behind the data.
        weight: a constant in codes behind the data.
        codes: whether its outputs are quantized.
    """

    op: str
    inputs: tuple[int, ...]
    shapes: tuple[Shape, ...]
    attributes: dict[str, AttributeValue]
    constants: tuple[NDArray[np.generic], ...] = ()
    weight: Tensor | None = None
    codes: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Value:
    """A result: codes where it has parameters."""

    value: ir.Value
    params: QParams | None

    def read(self, writer: GraphWriter, name: str) -> ir.Value:
        """The real value, for one more reader."""
        return self.value if self.params is None else writer.dequantize(self.value, self.params, name)


def wiring_cases(capabilities: Capabilities) -> Iterator[Case]:
    """Graphs of units that the backend claims, drawn by seed: beyond its table too, for what it takes it must do."""
    for seed in range(_CASES):
        yield Case(f"compound/wiring/{seed:02}", "several units that share values", _check(seed))


def _check(seed: int) -> Callable[[Context], str | None]:
    return lambda context: context.solve(_drawn(context, seed))


def _drawn(context: Context, seed: int) -> Problem:
    """Nodes are tried one after the other; what the backend refuses is left out."""
    random = np.random.default_rng(seed)
    draft = _Draft(context.capabilities, random.random() < 0.5)
    for _ in range(_TRIES):
        node = _PROPOSALS[random.integers(len(_PROPOSALS))](draft, random)
        if node is None:
            continue
        draft.nodes.append(node)
        if context.refusals(draft.model()):
            draft.nodes.pop()
        if len(draft.nodes) == _UNITS:
            break
    if len(draft.nodes) < 2:
        raise Skipped("the backend claims no two units of the form this case needs")
    model = draft.model()
    feeds = {name: draft.numbers(random, codes=codes) for name, codes in draft.feeds}
    fed = {info.name: feeds[info.name] for info in model.inputs}
    return Problem(model, (fed,), draft.nodes[0].op, tolerance=_tolerance(draft, context.expectations))


def _schemes(capabilities: Capabilities) -> tuple[QuantScheme | None, QuantScheme | None]:
    """The first scheme of 8-bit codes that activations have, and that of the weights of convolutions of such."""
    found = [rule for rule in capabilities.rules if _is_byte(rule.activation, Granularity.PER_TENSOR)]
    if not found:
        return None, None
    scheme = next((rule.activation for rule in found if rule.op == "Conv"), found[0].activation)
    weights = (rule.weight for rule in found if rule.op == "Conv" and rule.activation == scheme)
    both = (Granularity.PER_CHANNEL, Granularity.PER_TENSOR)
    weight = next((weight for weight in weights if _is_byte(weight, *both)), None)
    assert isinstance(scheme, QuantScheme)
    return scheme, weight if isinstance(weight, QuantScheme) else None


def _is_byte(kind: object, *granularities: Granularity) -> bool:
    if not isinstance(kind, QuantScheme) or kind.dtype not in (DType.INT8, DType.UINT8):
        return False
    return kind.granularity in granularities


class _Draft:
    """A graph that grows.

    Args:
        capabilities: whose codes the graph has, where there are any.
        offset: zero points are not zero, where the scheme lets them.
    """

    def __init__(self, capabilities: Capabilities, offset: bool) -> None:
        self.nodes: list[_Node] = []
        scheme, self._weights = _schemes(capabilities)
        self._scheme = scheme
        self._zero = 0 if scheme is None or scheme.symmetric or not offset else 7
        self.feeds = [("x", scheme is not None), ("real", False)]

    @property
    def shapes(self) -> list[Shape]:
        return [*(_START for _ in self.feeds), *(shape for node in self.nodes for shape in node.shapes)]

    @property
    def has_codes(self) -> bool:
        return self._scheme is not None

    def weight(self, random: np.random.Generator, outputs: int, inputs: int) -> Tensor | None:
        """Of a convolution of single elements, whose sums have the range of what they are made of."""
        scheme = self._weights
        if scheme is None:
            return None
        per_channel = scheme.granularity is Granularity.PER_CHANNEL
        shape, dtype = (outputs,) if per_channel else (), numpy_dtype(scheme.dtype)
        scale = np.full(shape, 1 / (127 * np.sqrt(inputs)), np.float32)
        zero = np.full(shape, 0 if scheme.dtype is DType.INT8 else 128, dtype)
        params = QParams(replace(scheme, axis=0) if per_channel else scheme, scale, zero)
        real = random.uniform(-1, 1, (outputs, inputs, 1, 1)).astype(np.float32) / np.float32(np.sqrt(inputs))
        return Tensor(params.quantize(real), params)

    def numbers(self, random: np.random.Generator, *, codes: bool) -> NDArray[np.generic]:
        """What an input is fed."""
        real = random.uniform(-3, 3, _START).astype(np.float32)
        return self._params(_SCALE).quantize(real) if codes else real

    def model(self) -> QuantizedModel:
        """Outputs are what nobody reads, and the first result that somebody does."""
        writer, values = GraphWriter("wiring"), list[_Value]()
        read = {number for node in self.nodes for number in node.inputs}
        for number, (name, codes) in enumerate(self.feeds):
            params = self._params(_SCALE) if codes else None
            dtype = np.dtype(np.float32) if params is None else numpy_dtype(params.scheme.dtype)
            value = writer.value(name, dtype, _START)
            values.append(_Value(value, params))
            if number in read:
                writer.inputs.append(value)
        for node in self.nodes:
            values += self._written(writer, node, values)
        first = min((number for number in read if number >= len(self.feeds)), default=-1)
        for number in range(len(self.feeds), len(values)):
            if number not in read or number == first:
                writer.result(values[number].value)
        return writer.model()

    def _written(self, writer: GraphWriter, node: _Node, values: Sequence[_Value]) -> list[_Value]:
        """Write a node with a DQ of its own for each input that has codes, and a Q behind each output that is to."""
        name = f"u{len(values)}"
        inputs = [values[number].read(writer, f"{name}_{i}") for i, number in enumerate(node.inputs)]
        constants = [writer.initializer(f"{name}_c{i}", array) for i, array in enumerate(node.constants)]
        weights = [] if node.weight is None else [writer.constant(f"{name}_w", node.weight)]
        outputs = writer.node(node.op, [*inputs, *weights, *constants], node.attributes, len(node.shapes), name)
        params = self._params(_SHARE if node.op in _SHARES else _SCALE) if node.codes else None
        if params is not None and moves_only(writer.nodes[-1]):
            params = values[node.inputs[0]].params or params
        for value, shape in zip(outputs, node.shapes, strict=True):
            value.shape, value.type = ir.Shape(shape), ir.TensorType(ir.DataType.FLOAT)
        return [_Value(value if params is None else writer.quantize(value, params), params) for value in outputs]

    def _params(self, scale: float) -> QParams:
        assert self._scheme is not None
        dtype = numpy_dtype(self._scheme.dtype)
        return QParams(self._scheme, np.asarray(scale, np.float32), np.asarray(self._zero, dtype))


def _any(draft: _Draft, random: np.random.Generator, fits: Callable[[Shape], bool] = bool) -> int | None:
    """A value whose shape fits."""
    found = [number for number, shape in enumerate(draft.shapes) if fits(shape)]
    return int(random.choice(found)) if found else None


def _node(
    draft: _Draft,
    random: np.random.Generator,
    op: str,
    inputs: Sequence[int],
    shapes: Sequence[Shape],
    *constants: NDArray[np.generic],
    **attributes: AttributeValue,
) -> _Node:
    codes = draft.has_codes and random.random() < 0.5
    return _Node(op, tuple(inputs), tuple(shapes), attributes, constants, codes=codes)


def _function(draft: _Draft, random: np.random.Generator) -> _Node | None:
    number = _any(draft, random)
    if number is None:
        return None
    op, rank = str(random.choice(["Relu", "Sigmoid", "Softmax"])), len(draft.shapes[number])
    attributes: dict[str, AttributeValue] = {"axis": int(random.integers(1, rank))} if op == "Softmax" else {}
    return _node(draft, random, op, [number], [draft.shapes[number]], **attributes)


def _pair(draft: _Draft, random: np.random.Generator) -> _Node | None:
    """Also of values that repeat along axes of size 1."""
    first = _any(draft, random)
    if first is None:
        return None
    shape = draft.shapes[first]
    second = _any(draft, random, lambda other: _broadcasts(shape, other))
    assert second is not None
    inputs = [first, second] if random.random() < 0.5 else [second, first]
    return _node(draft, random, str(random.choice(["Add", "Mul"])), inputs, [shape])


def _broadcasts(shape: Shape, other: Shape) -> bool:
    return len(shape) == len(other) and all(b in (a, 1) for a, b in zip(shape, other, strict=True))


def _reshape(draft: _Draft, random: np.random.Generator) -> _Node | None:
    """The factors of the sizes, dealt to other axes."""
    number = _any(draft, random)
    if number is None:
        return None
    sizes = [1] * int(random.integers(1, 4))
    for factor in (f for size in draft.shapes[number] for f in _factors(size)):
        sizes[random.integers(len(sizes))] *= factor
    shape = (1, *sizes)
    return _node(draft, random, "Reshape", [number], [shape], np.array(shape, np.int64))


def _factors(number: int) -> Iterator[int]:
    """Its prime factors."""
    least = next((f for f in range(2, number + 1) if number % f == 0), None)
    if least is not None:
        yield least
        yield from _factors(number // least)


def _transpose(draft: _Draft, random: np.random.Generator) -> _Node | None:
    number = _any(draft, random, lambda shape: len(shape) > 1)
    if number is None:
        return None
    shape = draft.shapes[number]
    order = (0, *(int(axis) + 1 for axis in random.permutation(len(shape) - 1)))
    return _node(draft, random, "Transpose", [number], [tuple(shape[axis] for axis in order)], perm=order)


def _split(draft: _Draft, random: np.random.Generator) -> _Node | None:
    number = _any(draft, random, lambda shape: max(shape[1:], default=1) > 1)
    if number is None:
        return None
    shape = draft.shapes[number]
    axis = int(random.choice([axis for axis in range(1, len(shape)) if shape[axis] > 1]))
    first = int(random.integers(1, shape[axis]))
    parts = (first, shape[axis] - first)
    shapes = [(*shape[:axis], part, *shape[axis + 1 :]) for part in parts]
    return _node(draft, random, "Split", [number], shapes, np.array(parts, np.int64), axis=axis)


def _concat(draft: _Draft, random: np.random.Generator) -> _Node | None:
    first = _any(draft, random, lambda shape: len(shape) > 1)
    if first is None:
        return None
    shape = draft.shapes[first]
    axis = int(random.integers(1, len(shape)))
    rest = (*shape[:axis], *shape[axis + 1 :])
    second = _any(draft, random, lambda other: len(other) == len(shape) and (*other[:axis], *other[axis + 1 :]) == rest)
    assert second is not None
    size = shape[axis] + draft.shapes[second][axis]
    return _node(draft, random, "Concat", [first, second], [(*shape[:axis], size, *shape[axis + 1 :])], axis=axis)


def _mean(draft: _Draft, random: np.random.Generator) -> _Node | None:
    number = _any(draft, random, lambda shape: len(shape) > 1)
    if number is None:
        return None
    shape = (*draft.shapes[number][:-1], 1)
    return _node(draft, random, "ReduceMean", [number], [shape], np.array([-1], np.int64), keepdims=1)


def _pool(draft: _Draft, random: np.random.Generator) -> _Node | None:
    number = _any(draft, random, lambda shape: len(shape) == 4 and min(shape[2:]) > 1)
    if number is None:
        return None
    n, c, h, w = draft.shapes[number]
    return _node(draft, random, "MaxPool", [number], [(n, c, h - 1, w - 1)], kernel_shape=(2, 2))


def _conv(draft: _Draft, random: np.random.Generator) -> _Node | None:
    """With as many channels as it reads, so that something of that shape can be added."""
    number = _any(draft, random, lambda shape: len(shape) == 4)
    if number is None:
        return None
    shape = draft.shapes[number]
    weight = draft.weight(random, shape[1], shape[1])
    found = _node(draft, random, "Conv", [number], [shape], kernel_shape=(1, 1))
    return None if weight is None else replace(found, weight=weight)


_PROPOSALS = (_function, _pair, _pair, _reshape, _transpose, _split, _concat, _mean, _pool, _conv, _conv)


def _tolerance(draft: _Draft, expectations: Expectations) -> Tolerance:
    """What was declared adds up, and real numbers become codes: one code more where they lie between two.

    A value that lies elsewhere is off by whole units.
    """
    declared = [expectations.tolerance(node.op) for node in draft.nodes]
    codes = 4 * (sum(tolerance.lsb for tolerance in declared) + 1)
    real = sum(tolerance.atol + 3 * tolerance.rtol for tolerance in declared)
    return Tolerance(lsb=codes, rtol=0.01, atol=_SCALE * codes + real)
