"""Unknown factors of channels: some must be equal, some must be 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIXED", "Ids", "Variables"]

Ids = NDArray[np.intp]
"""Numbers of variables in an array that broadcasts to the tensor they scale: size 1 along axes with one factor."""

FIXED: Ids = np.zeros((), np.intp)
"""Variable 0, which is 1."""


class Variables:
    """A union-find forest over numbered variables; those tied to variable 0 cannot be chosen."""

    def __init__(self) -> None:
        self._parent = [0]
        self._reasons: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._parent)

    def fresh(self, shape: tuple[int, ...]) -> Ids:
        """New variables, all independent."""
        start, count = len(self._parent), int(np.prod(shape))
        self._parent.extend(range(start, start + count))
        return np.arange(start, start + count).reshape(shape)

    def unify(self, first: Ids, second: Ids) -> Ids:
        """Make two arrays of variables equal where they broadcast onto each other; the broadcast array."""
        a, b = np.broadcast_arrays(first, second)
        if a is not b:
            for x, y in zip(a.reshape(-1).tolist(), b.reshape(-1).tolist(), strict=True):
                self._join(x, y)
        return a

    def fix(self, ids: Ids, reason: str) -> None:
        """Set variables to 1; the first reason given is kept."""
        for x in ids.reshape(-1).tolist():
            root = self._find(x)
            if root:
                self._reasons.setdefault(x, reason)
                self._join(root, 0)

    def roots(self, ids: Ids) -> Ids:
        """Each variable as the smallest one equal to it; 0 for what is fixed."""
        return np.asarray([self._find(x) for x in ids.reshape(-1).tolist()], np.intp).reshape(ids.shape)

    def reasons(self) -> list[str]:
        """Why variables are fixed, each reason once, in the order they were met."""
        return list(dict.fromkeys(self._reasons.values()))

    def _find(self, x: int) -> int:
        while self._parent[x] != x:
            self._parent[x] = self._parent[self._parent[x]]
            x = self._parent[x]
        return x

    def _join(self, x: int, y: int) -> None:
        a, b = self._find(x), self._find(y)
        self._parent[max(a, b)] = min(a, b)
