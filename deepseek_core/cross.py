"""Cross-compile: a whole model as one stand-alone image for another machine, in a format of the target's backend."""

from __future__ import annotations

from deepseek_core.artifact import Artifact
from deepseek_core.errors import BackendError, ConfigError
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.options import CompileOptions
from deepseek_core.partition import place
from deepseek_core.passes import run_passes
from deepseek_core.registry import Registry
from deepseek_core.target import Target

__all__ = ["cross_compile"]

_FACTS = frozenset({"canonical"})


def cross_compile(
    model: QuantizedModel,
    target: Target | str,
    *,
    registry: Registry,
    format: str | None = None,
    options: CompileOptions | None = None,
) -> Artifact:
    """The image of a model for one target; nothing of the model may run elsewhere.

    Args:
        model: quantized or float model; it is not changed.
        target: whose backend builds the image.
        registry: the backends to use.
        format: a name in the target's `Capabilities.formats`; None for the first of them.
        options: `extra` has the backend's options under `backend.name`.

    Raises:
        ConfigError: the target offers no such format, or an option is for another backend.
        PlacementError: a unit does not run on the target; the message has the reasons.
        BackendError: the backend's toolchain is missing or refuses the model, or it does not keep its word.
    """
    backend, resolved = registry.resolve(target)
    options = options or CompileOptions()
    options.refuse_strangers([backend.name])
    offered = backend.capabilities(resolved).formats
    wanted = format or next(iter(offered), None)
    if wanted not in offered:
        names = ", ".join(offered) or "none"
        asked = f"format '{format}'" if format else "an image"
        raise ConfigError(f"{resolved} does not offer {asked} (formats: {names})", fix="choose a format it offers")
    assert wanted is not None
    place(model, [(backend, resolved)])
    part = model.clone()
    run_passes(part, backend.passes(resolved), _FACTS)
    image = backend.cross_compile(part, resolved, wanted, options.for_backend(backend.name))
    if image is None:
        raise BackendError(
            f"{resolved} offers format '{wanted}' and gives nothing for it",
            fix=f"report it to the authors of {backend.distribution or backend.name}",
        )
    return image
