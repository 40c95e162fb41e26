"""From placed parts to artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deepseek_core.artifact import Artifact
from deepseek_core.errors import BackendError, ConfigError
from deepseek_core.ir.model import QuantizedModel, TensorInfo
from deepseek_core.options import CompileOptions
from deepseek_core.partition import Part, split
from deepseek_core.passes import run_passes
from deepseek_core.placement import Placement
from deepseek_core.registry import Backend, Registry

__all__ = ["build", "build_part"]

_FACTS = frozenset({"canonical"})
"""What holds for every part before a backend's passes."""


def build(
    model: QuantizedModel, placement: Placement, registry: Registry, options: CompileOptions
) -> Iterator[Artifact]:
    """Artifacts of a placement, one after the other in execution order; `model` is not changed.

    Raises:
        DeepseekError: a tap names no value of the model, or a backend cannot compile its part.
    """
    _check_taps(model, options)
    parts = split(model, placement)
    for number, part in enumerate(parts):
        options.progress(f"compile part {number + 1} of {len(parts)} for {part.target}", number / len(parts))
        backend, _ = registry.resolve(part.target)
        yield build_part(part, backend, options)
    options.progress("compiled", 1.0)


def build_part(part: Part, backend: Backend, options: CompileOptions) -> Artifact:
    """Legalise and compile one part; the backend's passes change `part.model`.

    Args:
        options: of the whole package; the backend is given the taps and the `extra` that concern it.

    Raises:
        BackendError: the backend changes the part's interface, or compiles for another target.
    """
    wanted = tuple(name for name in options.taps if name in _computed(part.model))
    own = options.for_backend(backend.name)
    interface = (*part.model.inputs, *part.model.outputs)
    run_passes(part.model, backend.passes(part.target), _FACTS)
    after = (*part.model.inputs, *part.model.outputs)
    if len(after) != len(interface) or not all(map(_is_as_told, after, interface)):
        raise _broken(backend, f"its passes change the inputs or outputs of {part.name}")
    artifact = backend.compile(part.model, part.target, replace(own, taps=wanted))
    if artifact.target != part.target:
        raise _broken(backend, f"it compiled {part.name} for {artifact.target} when asked for {part.target}")
    return artifact


def _is_as_told(after: TensorInfo, before: TensorInfo) -> bool:
    """Whether a pass left an input or output as it was, but for sizes that nobody knew before."""
    if after != replace(before, shape=after.shape):
        return False
    if before.shape is None or after.shape is None:
        return before.shape is None
    pairs = zip(after.shape, before.shape, strict=False)
    settled = all(new == old or (isinstance(new, int) and not isinstance(old, int)) for new, old in pairs)
    return settled and len(after.shape) == len(before.shape)


def _check_taps(model: QuantizedModel, options: CompileOptions) -> None:
    known = _computed(model) | {info.name for info in model.inputs}
    unknown = [name for name in options.taps if name not in known]
    if unknown:
        raise ConfigError(
            f"tap on '{unknown[0]}', which is no value of the main graph", fix="take names from `deepseek inspect`"
        )


def _computed(model: QuantizedModel) -> set[str | None]:
    return {value.name for node in model.graph for value in node.outputs}


def _broken(backend: Backend, what: str) -> BackendError:
    return BackendError(
        f"backend '{backend.name}' breaks the contract: {what}",
        fix=f"report it to the authors of {backend.distribution or backend.name}",
    )
