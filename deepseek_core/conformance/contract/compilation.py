"""Contract: compilation is repeatable, honours its options and leaves its input alone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from deepseek_core.conformance.case import Failed
from deepseek_core.conformance.context import PLAIN, Context, refused
from deepseek_core.conformance.contract.base import Contract
from deepseek_core.errors import DeepseekError
from deepseek_core.options import CompileOptions

__all__ = ["CONTRACT"]

CONTRACT = Contract("compile")

_NO_SUCH = "deepseek-no-such-thing"


@CONTRACT.case("artifact", "an artifact says what it was built for, in which format, and fits a manifest")
def _artifact(context: Context) -> None:
    artifact = context.compile(context.sample.model)
    if artifact.target != context.target:
        raise Failed(f"the artifact of {context.target} says it is for {artifact.target}")
    if not artifact.payload or not artifact.format.strip():
        raise Failed(f"the artifact has {len(artifact.payload)} bytes in format '{artifact.format}'")
    try:
        json.dumps([dict(artifact.toolchain), list(artifact.requires), dict(artifact.report)], allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Failed(f"toolchain, requires or report is not plain JSON: {error}") from None
    if lacking := sorted(set(artifact.requires) - set(context.availability.features)):
        raise Failed(f"the artifact requires '{lacking[0]}', which the probe does not list among the features here")


@CONTRACT.case("model_unchanged", "compiling leaves the model as it is")
def _unchanged(context: Context) -> None:
    context.require_compiler()
    model = context.sample.model.clone()
    before = model.digest()
    for options in (PLAIN, CompileOptions()):
        context.backend.compile(model, context.target, options)
        if model.digest() != before:
            raise Failed("the model differs after compilation")


@CONTRACT.case("deterministic", "the same model gives the same bytes twice")
def _deterministic(context: Context) -> None:
    first, second = (context.compile(context.sample.model) for _ in range(2))
    if first.payload != second.payload:
        pairs = zip(first.payload, second.payload, strict=False)
        place = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first.payload), len(second.payload)))
        raise Failed(f"two compilations differ from byte {place:,} of {len(first.payload):,} on")


@CONTRACT.case("unknown_option_refused", "an option nobody knows is refused by name")
def _unknown_option(context: Context) -> None:
    context.require_compiler()
    with refused("an unknown compile option"):
        context.compile(context.sample.model, replace(PLAIN, extra={f"{context.backend.name}.{_NO_SUCH}": "1"}))


@CONTRACT.case("optimized", "kernel selection gives the same result as the plain compilation")
def _optimized(context: Context) -> None:
    context.solve(context.sample, CompileOptions(optimize=1))


@CONTRACT.case("threads", "a given number of threads gives the same result")
def _threads(context: Context) -> None:
    context.solve(context.sample, CompileOptions(optimize=0, threads=2))


@CONTRACT.case("taps", "a tapped value comes out beside the outputs, or the tap is refused")
def _taps(context: Context) -> None:
    problem = context.sample
    tap = next((v.name for u in problem.model.units() for o in u.outputs if (v := o.real) is not o.value), None)
    tap = tap or problem.model.outputs[0].name
    assert tap is not None
    try:
        artifact = context.compile(problem.model, replace(PLAIN, taps=(tap,)))
    except DeepseekError:
        return
    with context.opened(artifact) as executable:
        outputs = executable.run(problem.feeds[0])
    if tap not in outputs:
        raise Failed(f"tap '{tap}' was accepted, and is not among the outputs {sorted(outputs)}")
    if not np.issubdtype(np.asarray(outputs[tap]).dtype, np.floating) and tap != problem.model.outputs[0].name:
        raise Failed(f"tap '{tap}' is a float value, and came out as {np.asarray(outputs[tap]).dtype}")
    own = {info.name for info in problem.model.outputs}
    context.judge(problem, {name: value for name, value in outputs.items() if name in own})
