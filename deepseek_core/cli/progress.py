"""A progress bar on stderr, for work that lasts."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from deepseek_core.options import Progress

__all__ = ["progress_bar"]

PATIENCE = 1.0
"""Seconds that pass before a bar appears."""


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Give a `Progress` callback that draws a bar once the work lasts over a second; silent without a terminal."""
    drawn = _Drawn()
    try:
        yield drawn if sys.stderr.isatty() else _silent
    finally:
        drawn.stop()


def _silent(what: str, fraction: float) -> None:
    return


class _Drawn:
    def __init__(self) -> None:
        self._began = time.monotonic()
        self._bar: Bar | None = None

    def __call__(self, what: str, fraction: float) -> None:
        if self._bar is None:
            if time.monotonic() - self._began < PATIENCE:
                return
            self._bar = _new_bar()
        self._bar.update(self._bar.task_ids[0], description=what, completed=fraction)

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def _new_bar() -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    bar.add_task("", total=1.0)
    bar.start()
    return bar
