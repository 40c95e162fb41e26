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
        self._parent: Ids = np.zeros(1, np.intp)
        self._reasons: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._parent)

    def fresh(self, shape: tuple[int, ...]) -> Ids:
        """New variables, all independent."""
        start, count = len(self._parent), int(np.prod(shape))
        new = np.arange(start, start + count)
        self._parent = np.concatenate([self._parent, new])
        return new.reshape(shape)

    def unify(self, first: Ids, second: Ids) -> Ids:
        """Make two arrays of variables equal where they broadcast onto each other; the broadcast array."""
        a, b = np.broadcast_arrays(first, second)
        pairs = np.stack([self.roots(a).reshape(-1), self.roots(b).reshape(-1)], axis=1)
        for x, y in np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0).tolist():
            self._join(x, y)
        return a

    def fix(self, ids: Ids, reason: str) -> None:
        """Set variables to 1; the first reason given is kept."""
        roots = self.roots(ids)
        if roots.any():
            self._reasons.setdefault(reason)
            self._parent[roots] = 0

    def roots(self, ids: Ids) -> Ids:
        """Each variable as the smallest one equal to it; 0 for what is fixed."""
        found: Ids = np.asarray(self._parent[ids])
        while True:
            above = self._parent[found]
            if np.array_equal(above, found):
                break
            found = above
        self._parent[ids] = found
        return found

    def reasons(self) -> list[str]:
        """Why variables are fixed, each reason once, in the order they were met."""
        return list(self._reasons)

    def _join(self, x: int, y: int) -> None:
        a, b = self.roots(np.asarray([x, y])).tolist()
        self._parent[max(a, b)] = min(a, b)
