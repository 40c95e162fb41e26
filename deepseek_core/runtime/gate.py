"""Gate: calls in progress, and a close that waits for them."""

from __future__ import annotations

import threading

from deepseek_core.runtime.lanes import closed_error

__all__ = ["Gate"]


class Gate:
    """Lets calls in until it is closed; closing waits for those inside."""

    def __init__(self) -> None:
        self._idle = threading.Condition(threading.Lock())
        self._inside = 0
        self._open = True

    def __enter__(self) -> None:
        with self._idle:
            if not self._open:
                raise closed_error()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._idle:
            self._inside -= 1
            if not (self._inside or self._open):
                self._idle.notify_all()

    def close(self) -> None:
        """Let nobody in any more, and return when everybody is out; calling twice is harmless."""
        with self._idle:
            self._open = False
            self._idle.wait_for(lambda: not self._inside)
