"""Stream: many inputs, each device busy with another one, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from deepseek_core.runtime.lanes import Lanes

__all__ = ["Ticket", "stream"]

_In = TypeVar("_In")
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class Ticket(Protocol[_T_co]):
    """An input under way."""

    def done(self) -> bool: ...

    def result(self) -> _T_co: ...

    def cancel(self) -> None: ...


def stream(lanes: Lanes, begin: Callable[[_In], Ticket[_T]], source: Iterable[_In], depth: int) -> Iterator[_T]:
    """Results in the order of `source`, with at most `depth` inputs under way or waiting to be fetched.

    The source is pulled on the caller's thread, once for each result at most after the first `depth`: a consumer that
    is slow holds everything back, and an interruption hits no hidden thread. However the iterator ends (exhausted,
    closed, an error of the source or of a device), what is under way is cancelled, and the workers are joined.

    Args:
        lanes: whose workers `begin` uses.
        begin: sets an input going.
        depth: at least 1.
    """
    window: deque[Ticket[_T]] = deque()
    with lanes.held():
        try:
            for item in source:
                window.append(begin(item))
                if len(window) == depth or window[0].done():
                    yield _first(window)
            while window:
                yield _first(window)
        finally:
            for ticket in window:
                ticket.cancel()


def _first(window: deque[Ticket[_T]]) -> _T:
    """Wait for the oldest; it leaves the window with its result, so that an interrupted wait still cancels it."""
    result = window[0].result()
    window.popleft()
    return result
