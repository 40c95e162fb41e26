"""A module behind a plain face: tensors in, tensors out; names, nesting and constants are kept beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepseek.quantization.frontends.arrays import as_array, as_tensor, is_tensor
from deepseek.quantization.frontends.torch.arguments import Arguments
from deepseek_core.errors import ModelError

__all__ = ["MODULE", "Nesting", "flat_module"]

MODULE = "module"
"""Attribute under which the user's module hangs; the first part of every name in the exported graph."""


@dataclass(frozen=True, slots=True, eq=False)
class Nesting:
    """How a module nests its outputs.

    Attributes:
        spec: torch's tree of the outputs.
        leaves: name of the graph's output, or the constant itself in a 1-tuple.
    """

    spec: Any
    leaves: tuple[str | tuple[Any], ...]

    @classmethod
    def of(cls, output: Any) -> Nesting:
        """The nesting of an output.

        Raises:
            ModelError: it holds no tensor.
        """
        import torch.utils._pytree as trees

        entries, spec = trees.tree_flatten_with_path(output)
        names = _unique([_name(path) for path, _ in entries])
        leaves = tuple(name if is_tensor(leaf) else (leaf,) for name, (_, leaf) in zip(names, entries, strict=True))
        if not any(isinstance(leaf, str) for leaf in leaves):
            raise ModelError("forward returns no tensor", fix="return the tensors that the network computes")
        return cls(spec, leaves)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(leaf for leaf in self.leaves if isinstance(leaf, str))

    def pack(self, outputs: Mapping[str, Any], *, as_torch: bool) -> Any:
        """Outputs by name as the module nests them."""
        import torch.utils._pytree as trees

        convert = as_tensor if as_torch else as_array
        return trees.tree_unflatten(
            [convert(outputs[x]) if isinstance(x, str) else x[0] for x in self.leaves], self.spec
        )


def flat_module(module: Any, arguments: Arguments, paths: Sequence[str]) -> Any:
    """A module of the tensors at `paths` that returns the tensors among its outputs, in their order."""
    import torch
    import torch.utils._pytree as trees

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module(MODULE, module)
            self.training = False

        def forward(self, *tensors: Any) -> tuple[Any, ...]:
            args, kwargs = arguments.call(dict(zip(paths, tensors, strict=True)))
            leaves = trees.tree_leaves(module(*args, **kwargs))
            return tuple(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))

    return Flat()


def _name(path: Sequence[Any]) -> str:
    parts = [str(getattr(entry, "key", getattr(entry, "idx", getattr(entry, "name", "")))) for entry in path]
    named = "_".join(parts)
    return named if named and not named[0].isdigit() else "_".join(filter(None, ("output", named)))


def _unique(names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        number, candidate = 1, name
        while candidate in found:
            number, candidate = number + 1, f"{name}_{number + 1}"
        found.append(candidate)
    return found
