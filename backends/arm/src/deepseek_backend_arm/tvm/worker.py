"""The process that TVM lives in: requests on standard input, answers on standard output.

request   length, name that symbols start with, length, an ONNX model of one node
answer    status (0 or 1), length, the compiled unit or why there is none

Lengths are little-endian 32-bit words. The process ends with its standard input.
"""

from __future__ import annotations

import os
import struct
import sys
import warnings
from typing import IO

__all__: list[str] = []

_LENGTH = struct.Struct("<I")
_MOST = 300
"""Characters of a reason."""


def _take(stream: IO[bytes]) -> bytes | None:
    head = stream.read(_LENGTH.size)
    return stream.read(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else None


def _answer(prefix: str, model: bytes) -> tuple[int, bytes]:
    from deepseek_backend_arm.tvm.relaxed import compile_node

    try:
        return 0, compile_node(model, prefix).encode()
    except Exception as error:  # whatever TVM raises is its answer about this unit
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return 1, (lines[-1] if lines else type(error).__name__)[:_MOST].encode()


def main() -> None:
    """Serve until the input ends. TVM prints at will, so answers go through a copy of standard output."""
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while (prefix := _take(sys.stdin.buffer)) is not None and (model := _take(sys.stdin.buffer)) is not None:
        status, payload = _answer(prefix.decode(), model)
        answers.write(bytes([status]) + _LENGTH.pack(len(payload)) + payload)
        answers.flush()


if __name__ == "__main__":
    main()
