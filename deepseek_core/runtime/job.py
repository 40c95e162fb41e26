"""Job: one input on its way through the steps of a schedule."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import Any

from numpy.typing import NDArray

from deepseek_core.executable import Feeds
from deepseek_core.runtime.schedule import Schedule
from deepseek_core.runtime.step import Step

__all__ = ["Job", "run_here"]


class Job:
    """The values of one input, each kept until the last step that takes it has run.

    Steps hand arrays on as they are: in one address space nothing is copied. Different steps may run on different
    threads; a step runs once, after all it waits for.

    Attributes:
        outcome: the wanted outputs, or what went wrong; once it is done, no further step begins.
    """

    def __init__(self, schedule: Schedule, feeds: Feeds) -> None:
        self._schedule = schedule
        self._values: dict[str, NDArray[Any]] = {**schedule.constants, **feeds}
        self._awaits = list(schedule.awaits)
        self._uses = dict(schedule.uses)
        self._left = len(schedule.steps)
        self._lock = threading.Lock()
        self.outcome: Future[dict[str, NDArray[Any]]] = Future()
        if not self._left:
            self.outcome.set_result(schedule.picked(self._values))

    def ready(self) -> list[Step]:
        """The steps to begin with: they need feeds only."""
        return [step for step in self._schedule.steps if not self._schedule.awaits[step.number]]

    def run(self, step: Step) -> list[Step]:
        """Run a step that is ready; gives the steps that are ready because of it.

        Raises:
            PartError: the part fails.
        """
        results = step.run({name: self._values[name] for name in step.takes})
        with self._lock:
            self._keep(step, results)
            self._left -= 1
            if not self._left and not self.outcome.done():
                self.outcome.set_result(self._schedule.picked(self._values))
            return [self._schedule.steps[number] for number in self._schedule.after[step.number] if self._freed(number)]

    def fail(self, error: BaseException) -> None:
        """Stop here, unless it is over already."""
        with self._lock:
            if not self.outcome.done():
                self.outcome.set_exception(error)

    def cancel(self) -> None:
        """Stop here, because nobody waits for the outcome any more."""
        with self._lock:
            self.outcome.cancel()

    def _keep(self, step: Step, results: dict[str, NDArray[Any]]) -> None:
        for name in step.gives:
            if name in self._uses:
                if name not in results:
                    raise step.forgot(name)
                self._values[name] = results[name]
        for name in step.takes:
            self._uses[name] -= 1
            if not self._uses[name]:
                del self._values[name]

    def _freed(self, number: int) -> bool:
        self._awaits[number] -= 1
        return not self._awaits[number]


def run_here(schedule: Schedule, feeds: Feeds) -> dict[str, NDArray[Any]]:
    """Run the steps one after the other on the caller's thread."""
    job = Job(schedule, feeds)
    ready = deque(job.ready())
    while ready:
        ready.extend(job.run(ready.popleft()))
    return job.outcome.result()
