"""From a torch module to a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from deepseek.quantization.execution import Runner
from deepseek.quantization.frontends.arrays import as_array, as_tensor, is_tensor
from deepseek.quantization.frontends.network import Network, Tensors
from deepseek.quantization.frontends.torch.arguments import Arguments, as_call, forward_signature
from deepseek.quantization.frontends.torch.calls import ModuleCalls
from deepseek.quantization.frontends.torch.diagnosis import explain, explain_call
from deepseek.quantization.frontends.torch.export import Exporter, Sizes, free_batch
from deepseek.quantization.frontends.torch.flat import Nesting, flat_module
from deepseek.quantization.frontends.torch.state import evaluating, float32_on_cpu
from deepseek_core import QuantizedModel
from deepseek_core.errors import ModelError
from deepseek_core.ir.frontend import load_model

__all__ = ["ModuleSource"]

_CLOSE = 1e-2
"""Relative error above which the exported graph is said to compute something else than the module."""


class ModuleSource:
    """A torch module and the form of its calls; `network` exports it.

    Args:
        module: left as it is: its modes and buffers are put back.
        example: arguments of a call, as a tensor, a tuple or a dict; or an element of calibration data.
        is_call: the example is a call as it stands; otherwise it may end in a label.

    Raises:
        ConfigError: the module cannot be called with the example.
        ModelError: it is a ScriptModule, which torch.export does not take.
    """

    def __init__(self, module: Any, example: Any, *, is_call: bool) -> None:
        import torch

        self.name = type(module).__name__
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(f"{self.name} is a ScriptModule", fix="give the nn.Module that it was scripted from")
        signature = forward_signature(module)
        whole = is_call and isinstance(example, tuple | list)
        args, kwargs = (tuple(example), {}) if whole else as_call(example, signature, 0)
        self._module = module
        tensors = chain(module.parameters(), module.buffers())
        half = any(t.is_floating_point() and t.dtype != torch.float32 for t in tensors)
        self.calls = ModuleCalls(Arguments.of(signature, args, kwargs), half=half)

    @property
    def example(self) -> Tensors:
        """The example as arrays by name."""
        leaves = self.calls.arguments.leaves
        return {name: self.calls.array(leaves[name]) for name in self.calls.arguments.names}

    def network(self, example: Tensors, free: Sizes) -> Network:
        """Export the module.

        Args:
            example: arrays by name; axes of size 1 may become fixed.
            free: input name → axes that differ between calls; the batch axis needs no mention.

        Raises:
            ModelError: the module fails on the example, or cannot be exported; the message names the line.
        """
        module = float32_on_cpu(self._module)
        tensors = {name: as_tensor(np.array(array)) for name, array in example.items()}
        flat = flat_module(module, self.calls.arguments, list(tensors))

        def forward(given: Mapping[str, Any]) -> Any:
            args, kwargs = self.calls.arguments.call(given)
            return module(*args, **kwargs)

        with evaluating(module):
            small = free_batch(lambda given: flat(*given.values()), tensors)
            output = self._output(forward, small or tensors)
            nesting = Nesting.of(output)
            attempts = [(tensors, free), (tensors, {})] if free else [(tensors, {})]
            if small is not None:
                attempts.insert(0, (small, {name: {0, *free.get(name, ())} for name in small}))
            model = load_model(self._export(flat, attempts, nesting.names))
        wanted = dict(zip(nesting.names, _tensors(output), strict=True))
        calls = ModuleCalls(self.calls.arguments, nesting, self.calls.half)
        notes = _notes(model, {name: as_array(tensor) for name, tensor in (small or tensors).items()}, wanted)
        return Network(model, calls, self.name, module, forward, tuple(notes))

    def _output(self, forward: Callable[[Mapping[str, Any]], Any], tensors: Mapping[str, Any]) -> Any:
        try:
            return forward(tensors)
        except Exception as error:
            raise explain_call(error, self.name) from error

    def _export(self, flat: Any, attempts: Sequence[tuple[Mapping[str, Any], Sizes]], outputs: tuple[str, ...]) -> Any:
        """The graph of the first attempt that torch can export; each is an example with its free axes."""
        failure: ModelError | None = None
        for example, free in attempts:
            exporter = Exporter(flat, example)
            try:
                return exporter.run(outputs, free)
            except Exception as error:  # whatever torch raises, the next attempt asks for less
                failure = explain(error, self.name, exporter.program)
                failure.__cause__ = error
        assert failure is not None
        raise failure


def _tensors(output: Any) -> list[Any]:
    import torch.utils._pytree as trees

    return [as_array(leaf) for leaf in trees.tree_leaves(output) if is_tensor(leaf)]


def _notes(model: QuantizedModel, example: Tensors, wanted: Mapping[str, Any]) -> list[str]:
    """What is odd about the export: a fixed batch, or other results than the module's."""
    found = []
    sizes = [info.shape[0] for info in model.inputs if info.shape]
    if sizes and all(isinstance(size, int) for size in sizes):
        found.append(f"the exported graph takes batches of {sizes[0]} only, as in the example input")
    with Runner(model) as runner:
        got = runner(example)
    for name, array in wanted.items():
        if array.dtype.kind != "f" or got[name].shape != array.shape:
            continue
        scale, error = np.abs(array).max(initial=0.0), np.abs(array - got[name]).max(initial=0.0)
        if not error <= _CLOSE * scale:
            found.append(
                f"output '{name}' of the exported graph differs from the module's: is it random, or has state?"
            )
    return found
