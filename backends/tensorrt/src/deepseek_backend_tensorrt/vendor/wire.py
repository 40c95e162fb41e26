"""Messages between a process and its child: a JSON head, then blobs of bytes.

8 bytes      size of the head, little-endian
head         UTF-8 JSON: {"body": …, "blobs": [sizes]}
…            the blobs
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import IO, Any

__all__ = ["receive", "send"]

_SIZE = struct.Struct("<q")
_MOST = 1 << 30


def send(stream: IO[bytes], body: Any, blobs: Sequence[Any] = ()) -> None:
    """Write one message and flush."""
    views = [memoryview(blob).cast("B") for blob in blobs]
    head = json.dumps({"body": body, "blobs": [view.nbytes for view in views]}).encode()
    stream.write(_SIZE.pack(len(head)))
    stream.write(head)
    for view in views:
        stream.write(view)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[Any, list[bytes]]:
    """Read one message.

    Raises:
        EOFError: the stream ends, or what comes is no message.
    """
    (size,) = _SIZE.unpack(_exactly(stream, _SIZE.size))
    if not 0 < size < _MOST:
        raise EOFError("not a message")
    head = json.loads(_exactly(stream, size))
    return head["body"], [_exactly(stream, number) for number in head["blobs"]]


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError("the stream ended")
    return data
