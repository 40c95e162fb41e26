"""The report of one run: what became of every case, and a verdict in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from deepseek_core.conformance.case import REFUSED, Result, Status

__all__ = ["Report", "worst"]


@dataclass(frozen=True, slots=True)
class Report:
    """What a backend did on one target.

    Attributes:
        distribution: pip name of the backend, or its name when it was not installed by pip.
        tier: how results were obtained (`device`, `emulated`, …); several are listed; empty when nothing ran.
        device: devices that ran something, as their runtimes name them.
        detail: the probe's line about device and toolchain.
        results: one for each case, in order.
        seconds: wall time of all of them.
        notes: remarks on the declarations that are no failures.
    """

    backend: str
    version: str
    distribution: str
    target: str
    tier: str
    device: str
    detail: str
    results: tuple[Result, ...]
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def conforms(self) -> bool:
        """Whether no case failed, none passed against expectation, and at least one passed."""
        statuses = {result.status for result in self.results}
        return Status.PASSED in statuses and not any(status.is_bad for status in statuses)

    @property
    def counts(self) -> dict[Status, int]:
        """Number of results of each status that occurs, in the order of `Status`."""
        found = Counter(result.status for result in self.results)
        return {status: found[status] for status in Status if found[status]}

    @property
    def verdict(self) -> str:
        """One line: who, where, how, and whether it conforms."""
        word = "CONFORMS" if self.conforms else "DOES NOT CONFORM"
        counts = ", ".join(_counted(status, number) for status, number in self.counts.items())
        where = f"{self.distribution} {self.version} on {self.target} ({self.tier or 'not run'})"
        return f"{where}: {word} — {counts or 'no case ran'}"

    @property
    def bad(self) -> tuple[Result, ...]:
        """Results that keep the backend from conforming."""
        return tuple(result for result in self.results if result.status.is_bad)

    @property
    def refused(self) -> int:
        """Number of passed cases whose model the table refuses, and the backend with it: nothing ran."""
        return sum(r.status is Status.PASSED and r.message.startswith(REFUSED) for r in self.results)

    def skips(self) -> dict[str, int]:
        """Number of skipped cases by reason, the most frequent first."""
        found = Counter(r.message for r in self.results if r.status is Status.SKIPPED)
        return dict(found.most_common())

    def matrix(self) -> dict[str, dict[str, Counter[Status]]]:
        """Statuses by op, then by types; contract cases are left out."""
        table: dict[str, dict[str, Counter[Status]]] = {}
        for result in self.results:
            if result.op:
                table.setdefault(result.op, {}).setdefault(result.types, Counter())[result.status] += 1
        return table

    def groups(self) -> Iterator[tuple[str, Counter[Status]]]:
        """Statuses by the first two parts of the case ids."""
        table: dict[str, Counter[Status]] = {}
        for result in self.results:
            table.setdefault("/".join(result.id.split("/")[:2]), Counter())[result.status] += 1
        yield from table.items()

    def to_json(self) -> dict[str, Any]:
        """JSON form, with the verdict."""
        return {
            "verdict": self.verdict,
            "conforms": self.conforms,
            "backend": self.backend,
            "version": self.version,
            "distribution": self.distribution,
            "target": self.target,
            "tier": self.tier,
            "device": self.device,
            "detail": self.detail,
            "seconds": self.seconds,
            "refused": self.refused,
            "notes": list(self.notes),
            "counts": {str(status): number for status, number in self.counts.items()},
            "results": [result.to_json() for result in self.results],
        }


def worst(statuses: Iterable[Status]) -> Status:
    """The status that colours a group: any failure, else any pass, else what there is."""
    order = (Status.FAILED, Status.UNEXPECTED_PASS, Status.EXPECTED_FAILURE, Status.PASSED, Status.SKIPPED)
    return min(statuses, key=order.index)


def _counted(status: Status, number: int) -> str:
    plurals = {Status.EXPECTED_FAILURE: "expected failures", Status.UNEXPECTED_PASS: "unexpected passes"}
    return f"{number} {plurals.get(status, str(status)) if number != 1 else status}"
