"""torch.export and torch.onnx, in memory: from a module and an example to a graph with a free batch size."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from deepseek.quantization.frontends.torch.graph import tidy

__all__ = ["Exporter", "Sizes", "free_batch", "of_program", "quiet"]

Sizes = Mapping[str, Collection[int]]
"""Input name → axes whose size is free."""


class Exporter:
    """Exports a flat module.

    Args:
        flat: see `flat.flat_module`.
        tensors: an example for each input, in order.

    Attributes:
        program: torch's `ExportedProgram`, once there is one.
    """

    def __init__(self, flat: Any, tensors: Mapping[str, Any]) -> None:
        self._flat, self._tensors = flat, tensors
        self.program: Any = None

    def run(self, outputs: Sequence[str], free: Sizes) -> ir.Model:
        """The graph.

        Args:
            outputs: names of the outputs.
            free: axes that other calls may have longer or shorter, where the module allows it.

        Raises:
            Exception: torch cannot export it; see `diagnosis.explain`.
        """
        import torch

        names, auto = list(self._tensors), torch.export.Dim.AUTO
        shapes = tuple(dict.fromkeys(free.get(name, ()), auto) for name in names)
        with quiet():
            self.program = torch.export.export(self._flat, tuple(self._tensors.values()), dynamic_shapes=(shapes,))
            exported: Any = torch.onnx.export(
                self.program, dynamo=True, verbose=False, input_names=names, output_names=list(outputs)
            )
        model: ir.Model = exported.model
        tidy(model, _symbols(model, free))
        return model


def of_program(program: Any) -> ir.Model:
    """The graph of an `ExportedProgram`, under its own names of inputs and outputs.

    Raises:
        Exception: torch cannot export it.
    """
    import torch

    with quiet():
        exported: Any = torch.onnx.export(program, dynamo=True, verbose=False)
    model: ir.Model = exported.model
    inputs = {value.name or "": set(range(len(value.shape or ()))) for value in model.graph.inputs}
    tidy(model, _symbols(model, inputs))
    return model


def free_batch(call: Callable[[Mapping[str, Any]], Sequence[Any]], tensors: Mapping[str, Any]) -> dict[str, Any] | None:
    """A small example whose batch may be free.

    torch.export takes a size of 1 for a constant, and equal sizes may be taken for one: the example gets two rows, or
    the least number above that no other axis has.

    Args:
        call: runs the module on such tensors and gives the tensors among its outputs.

    Returns:
        None where the tensors share no first axis, or the module's outputs do not grow with it.
    """
    sizes = {tensor.shape[0] if tensor.ndim else 0 for tensor in tensors.values()}
    if len(sizes) != 1 or 0 in sizes:
        return None
    others = {size for tensor in tensors.values() for size in tensor.shape[1:]}
    count = next(number for number in itertools.count(2) if number not in others)
    few, many = ({name: _rows(tensor, n) for name, tensor in tensors.items()} for n in (count, 2 * count))
    try:
        before, after = call(few), call(many)
    except Exception:  # whatever a module does with a batch it was not made for
        return None
    pairs = zip(after, before, strict=True)
    grows = [a.ndim and a.shape[0] == 2 * b.shape[0] and a.shape[1:] == b.shape[1:] for a, b in pairs]
    return few if all(grows) else None


def _rows(tensor: Any, count: int) -> Any:
    """The tensor with `count` rows: its first ones, again and again where it has fewer."""
    import torch

    return torch.cat([tensor] * -(-count // tensor.shape[0]))[:count]


def _symbols(model: ir.Model, free: Sizes) -> dict[str, str]:
    """Readable names for torch's sizes: `batch` for axis 0, else the input's name and the axis."""
    found: dict[str, str] = {}
    for value in model.graph.inputs:
        for axis in sorted(free.get(value.name or "", ())):
            size = value.shape[axis] if value.shape is not None else 0
            if not isinstance(size, int) and size.value is not None:
                found.setdefault(str(size.value), "batch" if axis == 0 else f"{value.name}_{axis}")
    return found


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hush torch, which tells of its own deprecations and of its progress; what is wrong with a module, it raises."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
