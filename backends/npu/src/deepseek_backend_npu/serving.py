"""The child's side of `worker`: answer requests until the parent is gone, with nothing else on the channel."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from deepseek_backend_npu.worker import read_message, write_message

__all__ = ["serve"]


def serve(answer: Callable[[list[bytes]], Sequence[bytes]]) -> None:
    """Answer each request; an exception becomes an answer too.

    What native code prints goes nowhere: the channel is a duplicate of the original standard output.
    """
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    while True:
        try:
            request = read_message(sys.stdin.buffer)
        except EOFError:
            return
        try:
            parts = [b"ok", *answer(request)]
        except Exception as error:
            parts = [b"error", str(error).encode() or type(error).__name__.encode()]
        write_message(channel, parts)
