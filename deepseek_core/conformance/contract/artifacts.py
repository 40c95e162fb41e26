"""Contract: an artifact survives being stored, and one that is damaged or another's is refused."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from deepseek_core.artifact import Artifact
from deepseek_core.conformance.case import Failed
from deepseek_core.conformance.context import Context, refused
from deepseek_core.conformance.contract.base import Contract
from deepseek_core.errors import DeepseekError
from deepseek_core.package import Package
from deepseek_core.partition import place
from deepseek_core.registry import Registry
from deepseek_core.runtime import Session
from deepseek_core.target import Target

__all__ = ["CONTRACT"]

CONTRACT = Contract("artifact")

_NO_SUCH = "deepseek-no-such-thing"
_FLIPS = 16


def _built(context: Context) -> Artifact:
    """An artifact on a machine that can open it."""
    context.require_device()
    return context.compile(context.sample.model)


@CONTRACT.case("round_trip", "an artifact made anew of its bytes and words gives the same result")
def _round_trip(context: Context) -> None:
    built = _built(context)
    again = Artifact(
        Target.parse(str(built.target)),
        bytes(bytearray(built.payload)),
        built.format,
        dict(built.toolchain),
        tuple(built.requires),
        dict(built.report),
    )
    with context.opened(again) as executable:
        context.judge(context.sample, executable.run(context.sample.feeds[0]))


@CONTRACT.case("package", "a session over a saved and opened package gives the same result")
def _package(context: Context) -> None:
    problem, registry = context.sample, Registry([context.backend])
    placement = place(problem.model, [(context.backend, context.target)])
    package = Package(problem.model, placement, (_built(context),))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.ds"
        package.save(path)
        with Session(Package.open(path), registry) as session:
            context.judge(problem, session.run(problem.feeds[0]))


@CONTRACT.case("bit_flips", "a flipped bit anywhere is refused")
def _bit_flips(context: Context) -> None:
    built = _built(context)
    for position in np.linspace(0, len(built.payload) * 8 - 1, _FLIPS).astype(int).tolist():
        payload = bytearray(built.payload)
        payload[position // 8] ^= 1 << position % 8
        with refused(f"an artifact with bit {position:,} flipped"):
            context.backend.load(replace(built, payload=bytes(payload))).close()


@CONTRACT.case("truncation", "an artifact cut short is refused")
def _truncation(context: Context) -> None:
    built = _built(context)
    for length in (0, 1, len(built.payload) // 2, len(built.payload) - 1):
        with refused(f"an artifact cut to {length:,} of {len(built.payload):,} bytes"):
            context.backend.load(replace(built, payload=built.payload[:length])).close()


@CONTRACT.case("garbage", "bytes that never were an artifact are refused, though their hash is right")
def _garbage(context: Context) -> None:
    built = _built(context)
    for name, payload in _never_artifacts(built.payload):
        with refused(f"an artifact of {name}"):
            context.backend.load(replace(built, payload=payload, sha256="")).close()


@CONTRACT.case("damage_is_no_crash", "damage under a right hash ends in an error or in a result, never in a crash")
def _damage(context: Context) -> None:
    """A loader may overlook damage that only its maker could know of; it may not fall over it."""
    built, feeds = _built(context), context.sample.feeds[0]
    for position in np.linspace(0, len(built.payload) - 1, _FLIPS).astype(int).tolist():
        payload = bytearray(built.payload)
        payload[position] ^= 0xFF
        try:
            with context.opened(replace(built, payload=bytes(payload), sha256="")) as executable:
                executable.run(feeds)
        except DeepseekError:
            continue
        except Exception as error:
            kind = f"a {type(error).__name__}, not a DeepseekError"
            raise Failed(f"an artifact with byte {position:,} inverted ends in {kind}: {error}") from error


@CONTRACT.case("other_backend_refused", "another backend's artifact is refused")
def _other_backend(context: Context) -> None:
    with refused("an artifact of another backend"):
        context.backend.load(replace(_built(context), target=Target("deepseek_other", context.target.device))).close()


@CONTRACT.case("wrong_target_refused", "an artifact for a device that is not here is refused")
def _wrong_target(context: Context) -> None:
    built = _built(context)
    for target in _absent_targets(context):
        with refused(f"an artifact for {target}"):
            context.backend.load(replace(built, target=target)).close()


@CONTRACT.case("unknown_format_refused", "a payload format nobody knows is refused")
def _unknown_format(context: Context) -> None:
    with refused("an artifact of an unknown format"):
        context.backend.load(replace(_built(context), format=_NO_SUCH)).close()


def _never_artifacts(payload: bytes) -> Iterator[tuple[str, bytes]]:
    yield "no bytes", b""
    yield "zeros", bytes(len(payload))
    yield "random bytes", np.random.default_rng(1).bytes(len(payload))
    yield "its first half", payload[: len(payload) // 2]


def _absent_targets(context: Context) -> Iterator[Target]:
    yield Target(context.target.backend, _NO_SUCH)
    for target in context.backend.targets:
        if target != context.target and not context.backend.probe(target).can_run:
            yield target
