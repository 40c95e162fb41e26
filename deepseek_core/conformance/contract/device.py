"""Contract: results come from the device that was asked for, in the tier that was stated. No silent fallback.

What can be seen from outside: the tier and device an executable states are those the probe found; a device that
is not there is refused rather than replaced; and where a backend declares numerics of its own, its results show
them. A runtime that fell back to another device would give the reference's results instead.
"""

from __future__ import annotations

import numpy as np

from deepseek_core.conformance.case import Failed, Skipped
from deepseek_core.conformance.context import Context, refused
from deepseek_core.conformance.contract.base import Contract
from deepseek_core.conformance.expected import expected_outputs, shows
from deepseek_core.conformance.numerics import tie_drafts
from deepseek_core.expectations import Expectations
from deepseek_core.target import Tier

__all__ = ["CONTRACT"]

CONTRACT = Contract("device")

_NO_SUCH = "deepseek-no-such-device"


@CONTRACT.case("tier", "an executable states its tier, the same one as the probe")
def _tier(context: Context) -> None:
    with context.opened(context.compile(context.sample.model)) as executable:
        before = executable.tier
        executable.run(context.sample.feeds[0])
        after = executable.tier
    if not isinstance(before, Tier) or before != after:
        raise Failed(f"the executable states tier {before!r} before and {after!r} after a run")
    stated = context.availability.tier
    if stated is None:
        raise Failed(f"the executable states tier '{before}', the probe none; state it in Availability.tier")
    if stated is not before:
        raise Failed(f"the executable states tier '{before}', the probe '{stated}'")


@CONTRACT.case("device", "the device that ran is one the probe found")
def _device(context: Context) -> None:
    with context.opened(context.compile(context.sample.model)) as executable:
        before = executable.device
        executable.run(context.sample.feeds[0])
        after = executable.device
    if not before or before != after:
        raise Failed(f"the executable states device '{before}' before and '{after}' after a run")
    known = context.availability.devices
    if before not in known:
        raise Failed(f"ran on '{before}', the probe found {', '.join(known) or 'none'} (Availability.devices)")


@CONTRACT.case("unknown_device_refused", "a device that is not there is refused, not replaced")
def _unknown_device(context: Context) -> None:
    context.require_device()
    artifact = context.compile(context.sample.model)
    with refused("a device that does not exist"):
        context.backend.load(artifact, _NO_SUCH).close()


@CONTRACT.case("absent_device_refused", "where the target cannot run, loading is refused, not done elsewhere")
def _absent_device(context: Context) -> None:
    if context.availability.can_run:
        raise Skipped(f"{context.target} runs here: its absence cannot be tried")
    artifact = context.compile(context.sample.model)
    with refused("an artifact whose device the probe does not find"):
        context.backend.load(artifact).close()


@CONTRACT.case("declared_numerics_shown", "numerics declared to differ from the reference do differ")
def _declared_numerics(context: Context) -> None:
    own, reference = context.expectations, Expectations()
    if not shows(own):
        raise Skipped("the declared numerics are the reference's own: they cannot give a fallback away")
    context.require_device()
    for draft in tie_drafts(context.capabilities):
        if context.declared_refusals(draft.problem.model):
            continue
        declared = expected_outputs(draft.problem, own)[0]
        plain = expected_outputs(draft.problem, reference)[0]
        if all(np.array_equal(declared[name], plain[name]) for name in plain):
            continue
        got = context.run(draft.problem.model, draft.problem.feeds[0])
        if all(np.array_equal(got[name], plain[name]) for name in plain):
            raise Failed(f"results are the reference's on {draft.id}; something else than the declared device ran")
        return
    raise Skipped("no case shows the declared numerics")
