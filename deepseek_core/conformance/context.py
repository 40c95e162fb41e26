"""What the cases of one run share: the backend, its declarations, and the way a model is built and run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from deepseek_core.artifact import Artifact
from deepseek_core.conformance.case import Failed, Skipped
from deepseek_core.conformance.comparison import compare
from deepseek_core.conformance.draft import plain_problems
from deepseek_core.conformance.expected import expected_outputs
from deepseek_core.conformance.problem import Problem
from deepseek_core.errors import DeepseekError
from deepseek_core.executable import Executable, Feeds
from deepseek_core.expectations import Expectations
from deepseek_core.ir import QuantizedModel
from deepseek_core.options import CompileOptions
from deepseek_core.package.build import build_part
from deepseek_core.partition import Part, claims, refusal_reason
from deepseek_core.registry import Backend
from deepseek_core.target import Availability, Capabilities, Target

__all__ = ["PLAIN", "Context", "refused"]

PLAIN = CompileOptions(optimize=0, threads=1)
"""Straight from the model, so that a case tests the numerics and no search."""

Outputs = Mapping[str, NDArray[Any]]


class Context:
    """One backend on one target, asked by many cases.

    Attributes:
        seen: tiers and devices that executables stated, for the report.
        spent: op key → largest distance from the reference that was tolerated, in codes.
    """

    def __init__(self, backend: Backend, target: Target) -> None:
        self.backend = backend
        self.target = target
        self.seen: set[tuple[str, str]] = set()
        self.spent: dict[str, int] = {}

    @cached_property
    def capabilities(self) -> Capabilities:
        return self.backend.capabilities(self.target)

    @cached_property
    def availability(self) -> Availability:
        return self.backend.probe(self.target)

    @cached_property
    def expectations(self) -> Expectations:
        return self.backend.expectations(self.target)

    @cached_property
    def sample(self) -> Problem:
        """A plain problem that the target claims, for cases where any model will do.

        Raises:
            Skipped: the table accepts nothing that the kit can build.
        """
        for _, problem in plain_problems(self.capabilities):
            if not self.declared_refusals(problem.model):
                return problem
        raise Skipped("the capability table accepts no model that the kit can build")

    def require_compiler(self) -> None:
        """Skip the case where the toolchain is missing."""
        if not self.availability.can_compile:
            raise Skipped(f"{self.target} cannot compile here: {self._missing()}")

    def require_device(self) -> None:
        """Skip the case where the target cannot run."""
        if not self.availability.can_run:
            raise Skipped(f"{self.target} cannot run here: {self._missing()}")

    def declared_refusals(self, model: QuantizedModel) -> dict[str, str]:
        """Units that the capability table refuses, with its reasons."""
        reasons = {unit.name: refusal_reason(unit, self.capabilities) for unit in model.units()}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def refusals(self, model: QuantizedModel, declared: dict[str, str] | None = None) -> dict[str, str]:
        """Units of the main graph that the backend refuses, with its reasons; every other one it claims.

        Args:
            declared: `declared_refusals` where they are known: a backend without claims of its own has those.
        """
        if not self.backend.implements("deepseek_claim"):
            return self.declared_refusals(model) if declared is None else declared
        claimed, refusals = claims(model, self.backend, self.target)
        taken = {name for claim in claimed for name in claim.units}
        given = {refusal.unit: refusal.reason for refusal in refusals}
        return {unit.name: given.get(unit.name, "") for unit in model.units() if unit.name not in taken}

    def compile(self, model: QuantizedModel, options: CompileOptions = PLAIN) -> Artifact:
        """An artifact of `model`, after the backend's passes, as the pipeline builds it."""
        self.require_compiler()
        return build_part(Part("case", self.target, model.clone()), self.backend, options)

    @contextmanager
    def opened(self, artifact: Artifact) -> Iterator[Executable]:
        """An executable that is closed at the end."""
        self.require_device()
        executable = self.backend.load(artifact)
        self.seen.add((str(executable.tier), executable.device))
        try:
            yield executable
        finally:
            executable.close()

    def run(self, model: QuantizedModel, feeds: Feeds, options: CompileOptions = PLAIN) -> Outputs:
        """Outputs of one run."""
        with self.opened(self.compile(model, options)) as executable:
            return executable.run(feeds)

    def judge(self, problem: Problem, outputs: Outputs, run: int = 0) -> None:
        """Compare the outputs of run number `run` with the reference, as the backend declared to differ.

        Raises:
            Failed: an output is missing, undeclared, or not as expected.
        """
        expected = expected_outputs(problem, self.expectations)[run]
        if missing := sorted(set(expected) - set(outputs)):
            raise Failed(f"run gave no output '{missing[0]}'", f"outputs: {', '.join(sorted(outputs))}")
        if extra := sorted(set(outputs) - set(expected)):
            raise Failed(f"run gave an output '{extra[0]}' that the model does not have")
        tolerance = problem.tolerance or self.expectations.tolerance(problem.op)
        for name, value in expected.items():
            distance = compare(name, value, outputs[name], tolerance)
            if distance is not None and problem.tolerance is None:
                self.spent[problem.op] = max(distance, self.spent.get(problem.op, 0))

    def solve_by_every_kernel(self, problem: Problem) -> None:
        """Solve a problem of one unit by each kernel candidate that says how to choose it.

        Which of them runs on a user's machine is decided there, by measurement: each must keep the declarations.
        """
        for unit in problem.model.units():
            candidates = self.backend.kernels(unit, self.target)
            for candidate in candidates if len(candidates) > 1 else ():
                extra = {f"{self.backend.name}.{key}": str(value) for key, value in candidate.options.items()}
                if not extra:
                    continue
                try:
                    self.solve(problem, replace(PLAIN, extra=extra))
                except Failed as failure:
                    raise Failed(f"by kernel '{candidate.name}': {failure.message}", failure.details) from failure

    def solve(self, problem: Problem, options: CompileOptions = PLAIN) -> None:
        """Compile, load, run and judge a problem that the target claims."""
        artifact = self.compile(problem.model, options)
        with self.opened(artifact) as executable:
            for run, feeds in enumerate(problem.feeds):
                self.judge(problem, executable.run(feeds), run)

    def _missing(self) -> str:
        return "; ".join(f"{m.what} ({m.fix})" for m in self.availability.missing) or "the probe gives no reason"


@contextmanager
def refused(what: str) -> Iterator[None]:
    """The block must end in a DeepseekError with a fix.

    Raises:
        Failed: it ended well, or in another exception.
    """
    try:
        yield
    except DeepseekError as error:
        if not error.fix.strip():
            raise Failed(f"{what} is refused without a fix: {error.message}") from error
    except (Failed, Skipped):
        raise
    except Exception as error:
        raise Failed(f"{what} ends in a {type(error).__name__}, not a DeepseekError: {error}") from error
    else:
        raise Failed(f"{what} is accepted")
