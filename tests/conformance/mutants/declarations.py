"""Mutants that expect the wrong things of themselves, or cross-compile what nobody asked for."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace

import onnx_ir as ir

from deepseek_core import (
    Artifact,
    CompileOptions,
    Expectations,
    QuantizedModel,
    Rounding,
    Target,
    Tolerance,
    hookimpl,
)
from deepseek_core.expectations import KnownFailure
from deepseek_core.reference.numerics import Numerics, following

from .base import TABLE, Faithful, mutant
from .graphs import shift_zero

__all__: list[str] = []


class _Crossing(Faithful):
    def __init__(self) -> None:
        super().__init__()
        self.table = replace(TABLE, formats=("image",))

    def image(self, model: QuantizedModel, target: Target, format: str) -> Artifact | None:
        return Artifact(target, model.digest().encode(), "image") if format == "image" else None

    @hookimpl
    def deepseek_cross_compile(
        self, model: QuantizedModel, target: Target, format: str, options: CompileOptions
    ) -> Artifact | None:
        return self.image(model, target, format)


@mutant("contract/cross_compile/unknown_format_refused")
class CrossCompilesToAnything(_Crossing):
    def image(self, model: QuantizedModel, target: Target, format: str) -> Artifact | None:
        return Artifact(target, b"image", format)


@mutant("contract/cross_compile/formats")
class CrossCompilesToAnotherFormat(_Crossing):
    def image(self, model: QuantizedModel, target: Target, format: str) -> Artifact | None:
        return Artifact(target, b"image", "elf") if format == "image" else None


@mutant("contract/cross_compile/formats")
class CrossCompilesToNothing(_Crossing):
    def image(self, model: QuantizedModel, target: Target, format: str) -> Artifact | None:
        return None


@mutant("contract/cross_compile/formats")
class HidesItsFormats(_Crossing):
    def __init__(self) -> None:
        super().__init__()
        self.table = TABLE


class _Expecting(Faithful):
    expected: Expectations

    @hookimpl
    def deepseek_expectations(self, target: Target) -> Expectations:
        return self.expected


@mutant("contract/backend/info")
class DeclaresAStaleFailure(_Expecting):
    expected = Expectations(known_failures=(KnownFailure("numerics/Convolution/*", "no such op"),))


@mutant("contract/backend/info")
class DeclaresAFailureWithoutReason(_Expecting):
    expected = Expectations(known_failures=(KnownFailure("numerics/Conv/*/mixed", ""),))


@mutant("numerics/Conv/*/mixed")
class DeclaresAFailureThatPasses(_Expecting):
    expected = Expectations(known_failures=(KnownFailure("numerics/Conv/*/mixed", "was wrong once"),))


@mutant("numerics/*/rounding_ties")
class RoundsOtherwiseThanDeclared(_Expecting):
    """Half up is not half away, though both leave ties to even."""

    expected = Expectations(rounding=Rounding.HALF_AWAY)

    def numerics(self) -> AbstractContextManager[object]:
        return following(Numerics(Rounding.HALF_UP))


@mutant("numerics/Conv/*/mixed")
class DiffersOnMoreThanDeclared(_Expecting):
    """One code off everywhere; declared is one code off on a tenth."""

    expected = Expectations(Tolerance(lsb=1, fraction=0.1))

    def edit(self, model: ir.Model) -> None:
        shift_zero("output", 1)(model)
