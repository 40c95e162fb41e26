"""Small edits of an onnx-ir graph with names that stay unique over the whole model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.ir.qdq import DQ, Q
from deepseek_core.ir.units import subgraphs

__all__ = ["Editor", "remove", "replace"]


class Editor:
    """Adds nodes and initializers to a model; every name it gives is new to the model."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self._used: set[str] = set()
        self._counts: defaultdict[str, int] = defaultdict(lambda: 1)
        for graph in model.graphs():
            self._used.update(v.name or "" for v in (*graph.inputs, *graph.initializers.values()))
            for node in graph:
                self._used.update((node.name or "", *(v.name or "" for v in node.outputs)))

    @property
    def opset(self) -> int:
        """Version of the default domain."""
        return self.model.opset_imports.get("", 0)

    def name(self, base: str) -> str:
        """`base`, or `base_2`, `base_3`… where it is taken."""
        chosen = base
        while chosen in self._used:
            self._counts[base] += 1
            chosen = f"{base}_{self._counts[base]}"
        self._used.add(chosen)
        return chosen

    def initializer(self, graph: ir.Graph, base: str, array: NDArray[Any]) -> ir.Value:
        """A new initializer of `graph` that holds `array`."""
        name = self.name(base)
        tensor = ir.Tensor(array, name=name)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor)
        graph.register_initializer(value)
        return value

    def node(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        *,
        before: ir.Node,
        name: str,
        output: str,
        dtype: ir.DataType | None,
        shape: ir.Shape | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> ir.Value:
        """Insert a default-domain node with one output in front of `before` and give that output."""
        value = ir.Value(name=self.name(output), shape=shape)
        value.type = None if dtype is None else ir.TensorType(dtype)
        _insert(ir.node(op, inputs, attributes or {}, outputs=[value], name=self.name(name)), before)
        return value

    def dequantize(
        self,
        codes: ir.Value,
        scale: ir.Value,
        zero: ir.Value | None,
        *,
        before: ir.Node,
        axis: int | None = None,
        block: int | None = None,
    ) -> ir.Value:
        """Insert a DequantizeLinear of `codes` in front of `before` and give its real output."""
        return self.node(
            DQ,
            _present(codes, scale, zero),
            before=before,
            name=f"{codes.name}_{DQ}",
            output=f"{codes.name}_real",
            dtype=scale.dtype or ir.DataType.FLOAT,
            shape=codes.shape,
            attributes={k: v for k, v in {"axis": axis, "block_size": block}.items() if v is not None},
        )

    def quantize(self, real: ir.Value, scale: ir.Value, zero: ir.Value | None, codes: ir.Value) -> None:
        """Put a QuantizeLinear of `real` behind its producer; it takes over name and every use of `codes`.

        `real` and `codes` may be the same value; the real one then gets a new name.
        """
        producer = real.producer()
        assert producer is not None
        assert producer.graph is not None
        made = ir.node(Q, _present(real, scale, zero), name=self.name(f"{codes.name}_{Q}"))
        producer.graph.insert_after(producer, made)
        replace(codes, made.outputs[0])
        if real is codes:
            made.replace_input_with(0, real)
            real.name = self.name(f"{made.outputs[0].name}_real")
            real.type = ir.TensorType(scale.dtype or ir.DataType.FLOAT)

    def copy(self, node: ir.Node, *, before: ir.Node) -> ir.Value:
        """Insert a copy of a one-output node in front of `before`, in the graph of `before`."""
        (old,) = node.outputs
        value = ir.Value(name=self.name(f"{old.name}"), type=old.type, shape=old.shape)
        made = ir.Node(
            node.domain,
            node.op_type,
            node.inputs,
            node.attributes.values(),
            outputs=[value],
            name=self.name(f"{node.name}"),
            metadata_props=dict(node.metadata_props),
        )
        _insert(made, before)
        return value


def replace(old: ir.Value, new: ir.Value) -> None:
    """Let `new` take over name, type, shape, graph outputs and uses of `old`."""
    new.type, new.shape, name = old.type, old.shape, old.name
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    old.name = f"{name}/replaced"
    new.name = name


def remove(node: ir.Node) -> None:
    """Take a node whose outputs nothing reads any more out of its graph."""
    assert node.graph is not None
    # The node lets go of its inputs; its bodies would hold on to what they captured.
    for inner in (inner for body in subgraphs(node) for inner in body.all_nodes()):
        for position in range(len(inner.inputs)):
            inner.replace_input_with(position, None)
    node.graph.remove(node, safe=True)


def _insert(node: ir.Node, before: ir.Node) -> None:
    assert before.graph is not None
    before.graph.insert_before(before, node)


def _present(*values: ir.Value | None) -> list[ir.Value]:
    return [value for value in values if value is not None]
