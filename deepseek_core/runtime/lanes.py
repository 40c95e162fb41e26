"""Lanes: one worker thread for each device, and jobs that cross from one to the next."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from numpy.typing import NDArray

from deepseek_core.errors import PackageError
from deepseek_core.executable import Feeds
from deepseek_core.runtime.job import Job
from deepseek_core.runtime.schedule import Schedule
from deepseek_core.runtime.step import Step

__all__ = ["Lanes", "closed_error"]


class Lanes:
    """The scheduler: each step of a job goes to the worker of its device as soon as its inputs are there.

    A worker starts with the first step for its device. All end with the last `held` block, or, once `run` was called,
    with `close`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: dict[tuple[str, str], ThreadPoolExecutor] = {}
        self._holders = 0
        self._kept = self._closed = False

    def start(self, job: Job) -> None:
        """Begin a job; its `outcome` tells the rest. Call it inside `held`."""
        for step in job.ready():
            self._enqueue(job, step)

    def run(self, schedule: Schedule, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Run one input, and keep the workers for the next until `close`."""
        self._kept = True
        job = Job(schedule, feeds)
        try:
            self.start(job)
            return job.outcome.result()
        finally:
            job.cancel()  # without effect unless the wait was interrupted

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep workers for the length of a block.

        The jobs begun in it must be over, or cancelled, at its end; then none of their steps runs behind it.
        """
        with self._lock:
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                idle = {} if self._holders or self._kept else self._taken()
                under_way = [worker.submit(_nothing) for worker in self._workers.values()]
            _join(idle)
            wait(under_way)

    def close(self) -> None:
        """End every worker behind the step it is at; jobs that are not over fail. Calling twice is harmless."""
        with self._lock:
            self._closed = True
            workers = self._taken()
        _join(workers)

    def _enqueue(self, job: Job, step: Step) -> None:
        with self._lock:  # so that nothing is begun for a cancelled job behind the end of its `held` block
            if self._closed:
                job.fail(closed_error())
            if job.outcome.done():
                return
            if step.lane not in self._workers:
                self._workers[step.lane] = ThreadPoolExecutor(1, f"deepseek {step.device}")
            self._workers[step.lane].submit(self._work, job, step)

    def _work(self, job: Job, step: Step) -> None:
        if self._closed:
            job.fail(closed_error())
        if job.outcome.done():
            return
        try:
            for following in job.run(step):
                self._enqueue(job, following)
        except BaseException as error:  # it belongs to whoever waits for the outcome
            job.fail(error)

    def _taken(self) -> dict[tuple[str, str], ThreadPoolExecutor]:
        workers, self._workers = self._workers, {}
        return workers


def closed_error() -> PackageError:
    """What a call on a closed session is answered with."""
    return PackageError("the session is closed", fix="open a new one")


def _nothing() -> None:
    """A task to wait for: what was before it is done."""


def _join(workers: dict[tuple[str, str], ThreadPoolExecutor]) -> None:
    for worker in workers.values():
        worker.shutdown()
