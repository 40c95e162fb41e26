"""Contract: stand-alone images for another machine."""

from __future__ import annotations

from deepseek_core.artifact import Artifact
from deepseek_core.conformance.case import Failed, Skipped
from deepseek_core.conformance.context import PLAIN, Context
from deepseek_core.conformance.contract.base import Contract
from deepseek_core.errors import DeepseekError

__all__ = ["CONTRACT"]

CONTRACT = Contract("cross_compile")

_NO_SUCH = "deepseek-no-such-format"


def _require_hook(context: Context) -> None:
    if not context.backend.implements("deepseek_cross_compile"):
        raise Skipped("the backend does not implement deepseek_cross_compile")
    context.require_compiler()


@CONTRACT.case("formats", "every declared format is produced, twice the same")
def _formats(context: Context) -> None:
    _require_hook(context)
    formats = context.capabilities.formats
    if not formats:
        raise Failed("deepseek_cross_compile is implemented, but the table names no formats (Capabilities.formats)")
    for name in formats:
        first, second = (_image(context, name) for _ in range(2))
        if first.format != name or first.target != context.target or not first.payload:
            raise Failed(f"format '{name}' was asked for; got {len(first.payload)} bytes of '{first.format}'")
        if first.payload != second.payload:
            raise Failed(f"two images in format '{name}' differ")


@CONTRACT.case("unknown_format_refused", "a format nobody knows gives nothing")
def _unknown_format(context: Context) -> None:
    _require_hook(context)
    try:
        image = context.backend.cross_compile(context.sample.model.clone(), context.target, _NO_SUCH, PLAIN)
    except DeepseekError:
        return
    if image is not None:
        raise Failed(f"an unknown format gave {len(image.payload)} bytes of '{image.format}'")


def _image(context: Context, format: str) -> Artifact:
    image = context.backend.cross_compile(context.sample.model.clone(), context.target, format, PLAIN)
    if image is None:
        raise Failed(f"the table declares format '{format}', and cross-compiling to it gives nothing")
    return image
