"""Run a float model so that inner values can be seen, trip by trip, in the memory of one trip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.errors import CalibrationError
from deepseek_core.executable import Executable, Feeds
from deepseek_core.ir.model import QuantizedModel, TensorInfo
from deepseek_core.ir.ops import op_key
from deepseek_core.observe.plan import Block, Segment, plan
from deepseek_core.reference.control_flow import CONTROL, Scope
from deepseek_core.reference.values import Value

__all__ = ["Observer"]

See = Callable[[str, NDArray[Any]], None]


class Observer:
    """A float model opened for observation. One sample runs at a time.

    Args:
        model: prepared float model.
        names: values to watch: inputs and computed values of the main graph and of every body.
        open: compiles a model (a piece of this one) and opens it.

    Attributes:
        inputs: what `observe` must be fed.
        names: what is watched.

    Raises:
        CalibrationError: a name is no such value.
        ModelError: a value that crosses between pieces has no known type.
    """

    def __init__(self, model: QuantizedModel, names: Sequence[str], open: Callable[[QuantizedModel], Executable]):
        self.inputs: tuple[TensorInfo, ...] = model.inputs
        self.names = tuple(dict.fromkeys(names))
        self._watched = _watched(model, self.names)
        self._feeds = {value.name or "": value for value in model.graph.inputs}
        self._opened: list[Executable] = []
        self._see: See = _ignore
        try:
            self._run = _Running(self, plan(model, self._watched), open)
        except BaseException:
            self.close()
            raise

    def observe(self, feeds: Feeds, see: See) -> None:
        """Run one sample.

        Args:
            feeds: input name → array; checked by the caller.
            see: told name and array of each watched value every time it is computed, or bound to a body's input.

        Raises:
            BackendError: the device fails on these values.
        """
        self._see = see
        scope: Scope = {}
        self._run.call(scope, [feeds[name] for name in self._feeds])

    def close(self) -> None:
        """Release the device's resources; calling twice is harmless."""
        for executable in self._opened:
            executable.close()
        self._opened.clear()

    def opened(self, executable: Executable) -> Executable:
        """Remember an executable until `close`."""
        self._opened.append(executable)
        return executable

    def bind(self, scope: Scope, value: ir.Value, content: Value) -> None:
        """Put a value into the scope, and show it where it is watched."""
        scope[value] = content
        if value in self._watched:
            self._see(value.name or "", np.asarray(content))


class _Running:
    """A block with its pieces opened; a body as `reference.control_flow` wants one."""

    def __init__(self, observer: Observer, block: Block, open: Callable[[QuantizedModel], Executable]) -> None:
        self.graph = block.graph
        self._observer = observer
        self._steps: list[tuple[Callable[[Scope], None], tuple[ir.Value, ...]]] = []
        for piece in block.pieces:
            if isinstance(piece, Segment):
                step = self._native(piece, observer.opened(open(piece.model)))
            else:
                bodies = {name: _Running(observer, body, open) for name, body in piece.bodies.items()}
                step = self._interpreted(piece.node, bodies)
            self._steps.append((step, piece.ends))

    def call(self, scope: Scope, arguments: list[Value]) -> list[Value]:
        """Bind the graph's inputs, run its pieces in `scope`, give what its outputs hold where they are computed."""
        for value, content in zip(self.graph.inputs, arguments, strict=False):
            self._observer.bind(scope, value, content)
        for step, ends in self._steps:
            step(scope)
            for value in ends:
                scope.pop(value, None)
        return [_lookup(scope, value) for value in self.graph.outputs]

    def _native(self, piece: Segment, executable: Executable) -> Callable[[Scope], None]:
        def run(scope: Scope) -> None:
            results = executable.run({value.name or "": _lookup(scope, value) for value in piece.reads})
            for value in piece.gives:
                # Taken out, so that the last reader of a result is also the last to hold it.
                self._observer.bind(scope, value, results.pop(value.name or ""))

        return run

    def _interpreted(self, node: ir.Node, bodies: dict[str, _Running]) -> Callable[[Scope], None]:
        control = CONTROL[op_key(node)]

        def run(scope: Scope) -> None:
            inputs = [None if value is None else _lookup(scope, value) for value in node.inputs]
            for value, content in zip(node.outputs, control(node, bodies, scope, inputs), strict=False):
                self._observer.bind(scope, value, content)

        return run


def _lookup(scope: Scope, value: ir.Value) -> Any:
    """What a value holds; None for an output of the main graph that nobody watches."""
    if value.const_value is not None:
        return value.const_value.numpy()
    return scope.get(value)


def _watched(model: QuantizedModel, names: Sequence[str]) -> frozenset[ir.Value]:
    graphs = list(model.model.graphs())
    values = {v.name: v for g in graphs for v in (*g.inputs, *(o for node in g for o in node.outputs))}
    for name in names:
        if name not in values:
            raise CalibrationError(
                f"the model computes no value '{name}'", fix="name values of the prepared model that the recipe is for"
            )
    return frozenset(values[name] for name in names)


def _ignore(name: str, array: NDArray[Any]) -> None:
    return
