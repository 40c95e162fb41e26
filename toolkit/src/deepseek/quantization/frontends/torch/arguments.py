"""The arguments of a module's forward as named leaves: what calls, samples and the graph speak of alike."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepseek.quantization.frontends.arrays import is_tensor_like
from deepseek_core.errors import CalibrationError, ConfigError, FeedError

__all__ = ["Arguments", "as_call", "forward_signature", "leaves_of", "rebuilt"]

_SELF_EXPLAINING = "call it as the module was called with its example input"


@dataclass(frozen=True, slots=True)
class Arguments:
    """How forward is called, learnt from one example.

    Attributes:
        signature: of forward.
        example: parameter → value, defaults included.
        leaves: path of each leaf in the example → leaf.
    """

    signature: inspect.Signature
    example: Mapping[str, Any]
    leaves: Mapping[str, Any]

    @classmethod
    def of(cls, signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
        """Arguments of an example call.

        Raises:
            ConfigError: forward cannot be called so, or no argument is a tensor.
        """
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ConfigError(
                f"forward{signature} cannot be called with the example input ({error})",
                fix="give example_inputs= as a tuple of positional arguments, or a dict of named ones",
            ) from None
        bound.apply_defaults()
        leaves = leaves_of(dict(bound.arguments))
        if not any(map(is_tensor_like, leaves.values())):
            raise ConfigError("the example input holds no tensor", fix="give a torch tensor or a NumPy array")
        return cls(signature, dict(bound.arguments), leaves)

    @property
    def names(self) -> dict[str, str]:
        """Path → name in the graph, for every tensor."""
        return {path: path for path, leaf in self.leaves.items() if is_tensor_like(leaf)}

    def call(self, leaves: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """(args, kwargs) of the example call with other tensors in it."""
        arguments = {k: rebuilt(v, leaves, k) for k, v in self.example.items()}
        bound = inspect.BoundArguments(self.signature, arguments)
        return bound.args, bound.kwargs

    def tensors(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Path → tensor of another call of the same form.

        Raises:
            FeedError: it has other tensors, or another value where the example had a constant.
        """
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise FeedError(f"forward{self.signature}: {error}", fix=_SELF_EXPLAINING) from None
        bound.apply_defaults()
        leaves = leaves_of(dict(bound.arguments))
        for path, leaf in self.leaves.items():
            if path not in leaves:
                raise FeedError(f"argument '{path}' is missing", fix=_SELF_EXPLAINING)
            self._check_leaf(path, leaf, leaves[path])
        extra = next((path for path in leaves if path not in self.leaves), None)
        if extra is not None:
            raise FeedError(f"argument '{extra}' was not in the example input", fix=_SELF_EXPLAINING)
        return {path: leaves[path] for path in self.names}

    def element(self, element: Any, number: int) -> dict[str, Any]:
        """Path → tensor of an element of calibration data, which may carry a label.

        Raises:
            CalibrationError: it is no call of this form.
        """
        args, kwargs = as_call(element, self.signature, number, dict(self.example))
        try:
            return self.tensors(args, kwargs)
        except FeedError as error:
            raise CalibrationError(f"calibration sample {number}: {error.message}", fix=error.fix) from None

    @staticmethod
    def _check_leaf(path: str, wanted: Any, given: Any) -> None:
        if is_tensor_like(wanted):
            if not is_tensor_like(given):
                kind = type(given).__name__
                raise FeedError(f"argument '{path}' is a {kind}, not a tensor", fix="give a torch tensor or an array")
        elif is_tensor_like(given):
            raise FeedError(f"argument '{path}' was {wanted!r} in the example input", fix=_SELF_EXPLAINING)
        elif given is not wanted and given != wanted:
            raise FeedError(
                f"argument '{path}' is {given!r}; the network was exported for {wanted!r}",
                fix="quantize once for each value",
            )


def forward_signature(module: Any) -> inspect.Signature:
    """Signature of forward without `self`."""
    return inspect.signature(module.forward)


def as_call(
    element: Any, signature: inspect.Signature, number: int, example: Mapping[str, Any] | None = None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(args, kwargs) of an element of calibration data.

    A tensor is the first argument, a mapping names arguments, and a tuple gives them in order. Parts of a tuple
    beyond the example's arguments, or without an example beyond the parameters that have no default, are labels.

    Raises:
        CalibrationError: the element is something else.
    """
    if is_tensor_like(element):
        return (element,), {}
    if isinstance(element, Mapping):
        known = None if example is None else _names(signature, example)
        return (), {str(k): v for k, v in element.items() if known is None or k in known}
    if isinstance(element, tuple | list) and element:
        return tuple(element[: _expected(signature, example, len(element))]), {}
    raise CalibrationError(
        f"calibration sample {number} is a {type(element).__name__}",
        fix="give tensors, tuples of them in the order of forward's parameters, or dicts that name them",
    )


def rebuilt(tree: Any, leaves: Mapping[str, Any], path: str = "") -> Any:
    """`tree` with its leaves replaced by those of the same path, where there are any; `leaves_of` names the paths."""
    if isinstance(tree, Mapping):
        return {k: rebuilt(v, leaves, f"{path}_{k}" if path else str(k)) for k, v in tree.items()}
    if isinstance(tree, tuple | list) and len(tree):
        parts = [rebuilt(v, leaves, f"{path}_{i}" if path else str(i)) for i, v in enumerate(tree)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return leaves.get(path, tree)


def leaves_of(tree: Any, path: str = "") -> dict[str, Any]:
    """Path → leaf of nested mappings, tuples and lists; parts of a path are joined by underscores."""
    if isinstance(tree, Mapping) or (isinstance(tree, tuple | list) and len(tree)):
        entries = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
        joined = ((f"{path}_{key}" if path else str(key), value) for key, value in entries)
        return {name: leaf for below, value in joined for name, leaf in leaves_of(value, below).items()}
    return {path: tree}


def _names(signature: inspect.Signature, example: Mapping[str, Any]) -> set[str]:
    """Names that a call may give: parameters, and what the example gave as further keywords."""
    further = [p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD]
    return {*example, *(name for key in further for name in example.get(key, {}))}


def _expected(signature: inspect.Signature, example: Mapping[str, Any] | None, given: int) -> int:
    """How many parts of a tuple are arguments."""
    positional = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):
        rest = next(p.name for p in signature.parameters.values() if p.kind is p.VAR_POSITIONAL)
        return given if example is None else len(positional) + len(example.get(rest, ()))
    if example is None:
        return max(1, sum(p.default is p.empty for p in positional))
    used = [i for i, p in enumerate(positional) if example.get(p.name, p.default) is not p.default]
    return 1 + max(used, default=0)
