"""Child process: run prepared contexts in QNN's simulation.

run, digest, then for each input name, dtype, shape, bytes
→ `known`, for each output dtype, shape, bytes; or `unknown`: to be opened first
open, digest, version, context → nothing
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from deepseek_backend_npu.hexagon.session import checked_session, session_options
from deepseek_backend_npu.serving import serve

__all__: list[str] = []

_MOST = 8
_SESSIONS: OrderedDict[bytes, Any] = OrderedDict()


def _answer(request: list[bytes]) -> Sequence[bytes]:
    command, digest, *rest = request
    return _run(digest, rest) if command == b"run" else _open(digest, *rest)


def _open(digest: bytes, version: bytes, context: bytes) -> Sequence[bytes]:
    _SESSIONS[digest] = checked_session(context, session_options(version))
    while len(_SESSIONS) > _MOST:
        _SESSIONS.popitem(last=False)
    return []


def _run(digest: bytes, feeds: list[bytes]) -> Sequence[bytes]:
    session = _SESSIONS.get(digest)
    if session is None:
        return [b"unknown"]
    _SESSIONS.move_to_end(digest)
    arrays = {
        name.decode(): np.frombuffer(data, kind.decode()).reshape(json.loads(shape))
        for name, kind, shape, data in zip(feeds[::4], feeds[1::4], feeds[2::4], feeds[3::4], strict=True)
    }
    answer = [b"known"]
    for output in session.run(None, arrays):
        answer += [output.dtype.str.encode(), json.dumps(output.shape).encode(), np.ascontiguousarray(output).tobytes()]
    return answer


if __name__ == "__main__":
    serve(_answer)
