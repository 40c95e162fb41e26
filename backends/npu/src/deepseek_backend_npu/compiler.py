"""Compile a part: lower it, let Vela try the options that are left open, keep the fewest estimated cycles."""

from __future__ import annotations

import hashlib
from dataclasses import asdict

from deepseek_backend_npu.capabilities import capabilities
from deepseek_backend_npu.container import FORMAT, Container
from deepseek_backend_npu.devices import DEVICES, Device, device_of
from deepseek_backend_npu.header import header
from deepseek_backend_npu.lowering import Lowered, lower
from deepseek_backend_npu.lowering.fusion import kept_apart
from deepseek_backend_npu.settings import AUTO, Settings
from deepseek_backend_npu.tosa.serialize import serialize
from deepseek_backend_npu.tuning import Attempt, best, context, explore, known, remember
from deepseek_backend_npu.vela import Compiled, compile_graph
from deepseek_backend_npu.versions import compiler_version
from deepseek_core import Artifact, CompileOptions, QuantizedModel, Target, Tier
from deepseek_core.errors import BackendError
from deepseek_core.partition import refusal_reason

__all__ = ["build", "compile_model", "cross_compile", "variations"]

HEADER_FORMAT = "c-header"


def compile_model(model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
    """An artifact with the driver payload for one variant.

    Raises:
        ConfigError: an unknown option, or a value that the variant does not have.
        BackendError: the compiler is missing or refuses the part, or taps are asked for.
    """
    device = device_of(target)
    settings = Settings.read(options.extra, device)
    if options.taps:
        raise BackendError("the NPU gives codes only, no values from inside a part", fix="tap them on the cpu backend")
    for unit in model.units():
        reason = refusal_reason(unit, capabilities(target))
        if reason is not None:
            raise BackendError(f"'{unit.name}' does not run on {target}: {reason}", fix="place it on another target")
    container, chosen = build(lower(model), target.device, device, settings, options)
    _check_memory(container, settings)
    version = compiler_version()
    toolchain = {} if version is None else {"ethos-u-vela": version}
    report: dict[str, object] = {
        "device": target.device,
        "tier": container.tier,
        "system": settings.system,
        "memory": settings.memory,
        "options": {name: getattr(chosen, name) for name in ("optimize", "cascading", "buffering", "sram")},
        "host_conversions": len(container.before) + len(container.after),
    }
    if container.estimate is not None:
        report["estimate"] = {"basis": "compiler-estimate", **asdict(container.estimate)}
    return Artifact(target, container.encode(), FORMAT, toolchain, report=report)


def cross_compile(model: QuantizedModel, target: Target, format: str, options: CompileOptions) -> Artifact | None:
    """The same as a C header for firmware; None for another format.

    Raises:
        BackendError: as `compile_model`, or nothing of the model runs on the NPU.
    """
    if format != HEADER_FORMAT:
        return None
    built = compile_model(model, target, options)
    text = header(Container.decode(built.payload))
    return Artifact(target, text, format, built.toolchain, report=built.report)


def build(
    lowered: Lowered, name: str, device: Device, settings: Settings, options: CompileOptions
) -> tuple[Container, Settings]:
    """The container of a lowered part, and the settings that it was compiled with."""
    tier = _tier(settings)
    common = (tuple(lowered.before), tuple(lowered.after), tuple(lowered.feeds), tuple(lowered.results))
    if not lowered.graph.outputs:
        return Container(name, tier, lowered.inputs, lowered.outputs, *common), settings.default()
    tosa = serialize(kept_apart(lowered.graph, device))
    compiled, chosen = _fastest(tosa, name, settings, options) if options.optimize else _default(tosa, device, settings)
    container = Container(
        name,
        tier,
        lowered.inputs,
        lowered.outputs,
        *common,
        compiled.inputs,
        compiled.outputs,
        compiled.scratch,
        compiled.scratch_fast,
        compiled.estimate,
        compiled.payload,
        compiled.constants,
        tosa,
    )
    return container, chosen


def _default(tosa: bytes, device: Device, settings: Settings) -> tuple[Compiled, Settings]:
    chosen = settings.default()
    return compile_graph(tosa, device, chosen), chosen


def _fastest(tosa: bytes, name: str, settings: Settings, options: CompileOptions) -> tuple[Compiled, Settings]:
    """The best compilation by the compiler's estimates; never worse than its defaults in cycles or on-chip memory.

    The choice is in the tuning cache, under the graph's hash: the next time one compilation is enough.
    """
    device = DEVICES[name]
    where, signature = context(name, settings), f"part {hashlib.sha256(tosa).hexdigest()} [{settings.name}]"
    for known_name in known(where, signature):
        chosen = settings.named(known_name)
        if chosen is not None:
            return compile_graph(tosa, device, chosen), chosen
    compiled, chosen = best(variations(tosa, device, settings, options))
    remember(where, signature, {chosen.name: compiled.estimate.seconds})
    return compiled, chosen


def variations(tosa: bytes, device: Device, settings: Settings, options: CompileOptions) -> list[Attempt]:
    """The compiler's defaults and what else was tried.

    Raises:
        BackendError: none compiles.
    """
    return explore(lambda candidate: compile_graph(tosa, device, candidate), settings, options.progress)


def _check_memory(container: Container, settings: Settings) -> None:
    """Refuse what does not fit the fast memory that the user has: the compiler takes its limit for a wish."""
    needed = 0 if container.estimate is None else container.estimate.sram
    if settings.sram and needed > settings.sram:
        raise BackendError(
            f"the part needs {needed} bytes of fast memory at once, and npu.sram allows {settings.sram}",
            fix="allow more with npu.sram, or place its largest units on another target",
        )


def _tier(settings: Settings) -> Tier:
    return Tier.EMULATED if settings.tier == AUTO else Tier(settings.tier)
