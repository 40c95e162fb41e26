"""The suite: all cases of a target, run against the backend's declared expectations."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from time import perf_counter

from deepseek_core.conformance.case import Case, Failed, Result, Skipped, Status
from deepseek_core.conformance.compound import compound_cases
from deepseek_core.conformance.context import Context
from deepseek_core.conformance.contract import contract_cases
from deepseek_core.conformance.limits import limit_cases
from deepseek_core.conformance.numerics import numerics_cases
from deepseek_core.conformance.report import Report
from deepseek_core.conformance.wiring import wiring_cases
from deepseek_core.errors import DeepseekError
from deepseek_core.expectations import Expectations, KnownFailure
from deepseek_core.options import Progress
from deepseek_core.registry import Backend
from deepseek_core.target import Capabilities, Target

__all__ = ["cases", "describe", "known_failure", "run", "run_case", "selected", "stale_results"]


@lru_cache(maxsize=8)
def cases(capabilities: Capabilities) -> tuple[Case, ...]:
    """Every case of a capability table, contract cases first; posed problems are kept with them."""
    return (
        *contract_cases(capabilities),
        *numerics_cases(capabilities),
        *limit_cases(capabilities),
        *compound_cases(capabilities),
        *wiring_cases(capabilities),
    )


def run(
    backend: Backend,
    target: Target,
    pattern: str = "*",
    progress: Progress | None = None,
    *,
    fail_fast: bool = False,
) -> Report:
    """Run the cases whose ids match `pattern` (`fnmatch`) and judge them by the backend's expectations.

    Args:
        progress: told the id of each case before it runs.
        fail_fast: stop at the first result that keeps the backend from conforming.

    Returns:
        The report; a backend that cannot even answer for its table gives one failed case.
    """
    start = perf_counter()
    context = Context(backend, target)
    results: list[Result] = []
    for result in _results(context, pattern, progress):
        results.append(result)
        if fail_fast and result.status.is_bad:
            break
    notes = tuple(_notes(context)) if pattern == "*" else ()
    return Report(**describe(context), results=tuple(results), seconds=perf_counter() - start, notes=notes)


def run_case(case: Case, context: Context, known: KnownFailure | None) -> Result:
    """Run one case; `known` turns a failure into an expected one and a pass into an error."""
    start = perf_counter()
    status, message, details = _outcome(case, context)
    if known is not None and status is Status.FAILED:
        status, message = Status.EXPECTED_FAILURE, f"{known.reason} ({message})"
    elif known is not None and status is Status.PASSED:
        status = Status.UNEXPECTED_PASS
        message = f"passes, but is declared to fail ('{known.pattern}': {known.reason}); remove the declaration"
    return Result(case.id, status, case.probes, message, details, perf_counter() - start, case.op, case.types)


def selected(context: Context, pattern: str) -> list[Case]:
    """The target's cases whose ids match `pattern` (`fnmatch`)."""
    return [case for case in cases(context.capabilities) if fnmatchcase(case.id, pattern)]


def describe(context: Context) -> dict[str, str]:
    """Who was asked, and where it ran as far as it did: the head of a report."""
    info, seen = context.backend.info, sorted(context.seen)
    try:
        detail = context.availability.detail
    except Exception as error:  # the case that probes the probe says more
        detail = f"the probe raised {type(error).__name__}"
    return {
        "backend": info.name,
        "version": info.version,
        "distribution": context.backend.distribution or info.name,
        "target": str(context.target),
        "tier": " + ".join(dict.fromkeys(tier for tier, _ in seen)),
        "device": ", ".join(dict.fromkeys(device for _, device in seen)),
        "detail": detail,
    }


def known_failure(expectations: Expectations, case: Case) -> KnownFailure | None:
    """The declared failure that covers a case."""
    return next((known for known in expectations.known_failures if fnmatchcase(case.id, known.pattern)), None)


def stale_results(expectations: Expectations, every: Sequence[Case]) -> Iterator[Result]:
    """A failed result for each declared failure that has no reason or matches no case."""
    for known in expectations.known_failures:
        problem = None
        if not any(fnmatchcase(case.id, known.pattern) for case in every):
            problem = "matches no case; remove it or mend the pattern"
        elif not known.reason.strip():
            problem = "has no reason; say why it fails"
        if problem is not None:
            message = f"known failure '{known.pattern}' {problem}"
            yield Result(f"expectations/{known.pattern}", Status.FAILED, "declared failures are real", message)


def _results(context: Context, pattern: str, progress: Progress | None) -> Iterator[Result]:
    try:
        every, expectations = cases(context.capabilities), context.expectations
    except Exception as error:
        yield _broken("contract/declarations", "the capability table and expectations can be read", error)
        return
    yield from stale_results(expectations, every)
    chosen = selected(context, pattern)
    for done, case in enumerate(chosen):
        if progress is not None:
            progress(case.id, done / len(chosen))
        yield run_case(case, context, known_failure(expectations, case))


def _outcome(case: Case, context: Context) -> tuple[Status, str, str]:
    try:
        return Status.PASSED, case.check(context) or "", ""
    except Failed as failure:
        return Status.FAILED, failure.message, failure.details
    except Skipped as skip:
        return Status.SKIPPED, skip.reason, ""
    except Exception as error:
        result = _broken(case.id, case.probes, error)
        return result.status, result.message, result.details


def _broken(id: str, probes: str, error: Exception) -> Result:
    if isinstance(error, DeepseekError):
        return Result(id, Status.FAILED, probes, str(error))
    message = f"{type(error).__name__}: {error}".splitlines()[0]
    return Result(id, Status.FAILED, probes, f"crashes with {message}", "".join(traceback.format_exception(error)))


def _notes(context: Context) -> Iterator[str]:
    """Tolerances wider than any case needs: differences that nobody has seen should not be declared."""
    for op, needed in context.spent.items():
        declared = context.expectations.tolerance(op).lsb
        if needed < declared:
            yield f"{op} is declared to differ by up to {declared} LSB; no case differs by more than {needed}"
