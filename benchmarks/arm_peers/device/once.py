"""One inference between two marks that the counting plugin sees. Runs on the emulated CPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["main"]

Feeds = dict[str, np.ndarray[Any, Any]]


def main(opened: Callable[[str, Feeds], Callable[[], Sequence[Any]]], *, warm: bool = False) -> None:
    """Arguments: the model, its inputs (.npz), where the outputs go (.npz).

    Args:
        opened: model and inputs → what runs them once.
        warm: whether a first inference does work that later ones do not; the second one is counted then.
    """
    model, inputs, outputs = sys.argv[1:]
    with np.load(inputs, allow_pickle=False) as file:
        run = opened(model, {name: file[name] for name in file.files})
    if warm:
        run()
    os.getppid()
    results = run()
    os.getppid()
    np.savez(outputs, *results)
