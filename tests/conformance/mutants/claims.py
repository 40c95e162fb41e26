"""Mutants that claim, cost or declare wrongly."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from deepseek_core import (
    Artifact,
    Availability,
    BackendInfo,
    Capabilities,
    CompileOptions,
    Cost,
    Missing,
    QuantizedModel,
    Target,
    Unit,
    hookimpl,
)
from deepseek_core.cost import Basis, KernelCandidate
from deepseek_core.partition import derive_claims
from deepseek_core.placement import Claim

from .base import TABLE, Faithful, mutant

__all__: list[str] = []

Refuse = Callable[[Unit, str], None]


class Claiming(Faithful):
    """Claims what its table accepts, through the hook."""

    @hookimpl
    def deepseek_claim(self, model: QuantizedModel, target: Target, refuse: Refuse) -> Sequence[Claim] | None:
        claimed, refused = derive_claims(model, target, self.table)
        units = {unit.name: unit for unit in model.units()}
        for refusal in refused:
            refuse(units[refusal.unit], refusal.reason)
        return self.claims(claimed, model, target)

    def claims(self, claimed: list[Claim], model: QuantizedModel, target: Target) -> list[Claim]:
        return claimed


@mutant("contract/claims/*")
class RefusesWithoutReason(Faithful):
    @hookimpl
    def deepseek_claim(self, model: QuantizedModel, target: Target, refuse: Refuse) -> list[Claim]:
        claimed, _ = derive_claims(model, target, self.table)
        return claimed


@mutant("contract/claims/*")
class RefusesWithEmptyReason(Faithful):
    @hookimpl
    def deepseek_claim(self, model: QuantizedModel, target: Target, refuse: Refuse) -> list[Claim]:
        claimed, refused = derive_claims(model, target, self.table)
        units = {unit.name: unit for unit in model.units()}
        for refusal in refused:
            refuse(units[refusal.unit], " ")
        return claimed


@mutant("contract/claims/convex")
class ClaimsAroundOthers(Claiming):
    def claims(self, claimed: list[Claim], model: QuantizedModel, target: Target) -> list[Claim]:
        return [Claim(target, tuple(name for claim in claimed for name in claim.units))] if claimed else []


@mutant("contract/claims/unknown_op*")
class ClaimsUnknownOps(Faithful):
    @hookimpl
    def deepseek_claim(self, model: QuantizedModel, target: Target, refuse: Refuse) -> list[Claim]:
        return [Claim(target, (unit.name,)) for unit in model.units()]


@mutant("limits/*_outside")
class ClaimsBeyondItsLimits(ClaimsUnknownOps):
    pass


@mutant("numerics/Softmax/*")
class RefusesWhatItsTableDeclares(Claiming):
    @hookimpl
    def deepseek_claim(self, model: QuantizedModel, target: Target, refuse: Refuse) -> list[Claim]:
        kept = []
        for unit in model.units():
            if unit.op == "Softmax":
                refuse(unit, "Softmax is not my strong side")
            else:
                kept.append(Claim(target, (unit.name,)))
        return kept


@mutant("contract/claims/model_unchanged")
class ClaimingChangesTheModel(Claiming):
    def claims(self, claimed: list[Claim], model: QuantizedModel, target: Target) -> list[Claim]:
        model.graph.name = "mine"
        return claimed


@mutant("numerics/Add/*/mixed")
class DeclaresMoreThanItRuns(Faithful):
    @hookimpl
    def deepseek_compile(self, model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
        if any(node.op_type == "Add" for node in model.graph):
            raise NotImplementedError("Add")
        return super().deepseek_compile(model, target, options)


@mutant("contract/claims/unknown_op_not_compiled")
class CompilesAnything(Faithful):
    @hookimpl
    def deepseek_compile(self, model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
        if any(node.domain for node in model.graph):
            return Artifact(target, b"what was that?", "onnx")
        return super().deepseek_compile(model, target, options)


@mutant("contract/claims/newer_opset_refused")
class IgnoresOpset(ClaimsUnknownOps):
    def __init__(self) -> None:
        super().__init__()
        self.table = replace(TABLE, max_opset=21)


@mutant("contract/claims/dynamic_shapes_refused")
class IgnoresDynamicShapes(ClaimsUnknownOps):
    def __init__(self) -> None:
        super().__init__()
        self.table = replace(TABLE, dynamic_shapes=False)


@mutant("control_flow/*")
class ClaimsUndeclaredControlFlow(ClaimsUnknownOps):
    def __init__(self) -> None:
        super().__init__()
        self.table = replace(TABLE, control_flow=False)


def _cost_without_check(seconds: float, bases: Mapping[Basis, float]) -> Cost:
    cost = object.__new__(Cost)
    for name, value in {"seconds": seconds, "bytes": 0, "bases": bases, "joules": None}.items():
        object.__setattr__(cost, name, value)
    return cost


class _Costing(Faithful):
    cost: Cost

    @hookimpl
    def deepseek_cost(self, units: Sequence[Unit], target: Target) -> Cost:
        return self.cost


@mutant("contract/backend/cost")
class CostIsNan(_Costing):
    cost = _cost_without_check(float("nan"), {Basis.ANALYTIC: float("nan")})


@mutant("contract/backend/cost")
class CostIsNegative(_Costing):
    cost = _cost_without_check(-1.0, {Basis.ANALYTIC: -1.0})


@mutant("contract/backend/cost")
class CostHasNoBasis(_Costing):
    cost = _cost_without_check(1.0, {})


@mutant("contract/backend/cost")
class CostBasesDoNotSumUp(_Costing):
    cost = _cost_without_check(1.0, {Basis.MEASURED: 0.5})


@mutant("contract/backend/kernels")
class KernelsShareAName(Faithful):
    @hookimpl
    def deepseek_kernels(self, unit: Unit, target: Target) -> list[KernelCandidate]:
        return [KernelCandidate("int8", Cost.of(1e-3, Basis.ANALYTIC))] * 2


@mutant("contract/backend/probe")
class ProbeRaises(Faithful):
    @hookimpl
    def deepseek_probe(self, target: Target) -> Availability:
        raise OSError("libvendor.so: cannot open shared object file")


@mutant("contract/backend/probe")
class ProbeGivesNoFix(Faithful):
    @hookimpl
    def deepseek_probe(self, target: Target) -> Availability:
        return replace(super().deepseek_probe(target), can_run=False, missing=(Missing("a driver", ""),))


@mutant("contract/backend/probe")
class ProbeHidesWhatIsMissing(Faithful):
    @hookimpl
    def deepseek_probe(self, target: Target) -> Availability:
        return replace(super().deepseek_probe(target), can_run=False)


@mutant("contract/backend/info")
class HasNoVersion(Faithful):
    @hookimpl
    def deepseek_backend(self) -> BackendInfo:
        return replace(super().deepseek_backend(), version="")


@mutant("contract/backend/capabilities")
class TableChanges(Faithful):
    def __init__(self) -> None:
        super().__init__()
        self.calls = itertools.count()

    @hookimpl
    def deepseek_capabilities(self, target: Target) -> Capabilities:
        return replace(self.table, launch=float(next(self.calls)))
