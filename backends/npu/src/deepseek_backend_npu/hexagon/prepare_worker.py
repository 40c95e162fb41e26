"""Child process: prepare a graph for the HTP. Request: version, model. Answer: the model with QNN's contexts as nodes.

A context has numbers in it that count what its process prepared before. Each is therefore prepared by a fork of this
process, which prepares nothing itself: equal graphs have equal contexts, and one that brings QNN down takes its fork.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deepseek_backend_npu.hexagon.session import checked_session, devices, session_options
from deepseek_backend_npu.serving import serve

__all__: list[str] = []

_DONE, _REFUSED = b"+", b"-"


def _answer(request: list[bytes]) -> Sequence[bytes]:
    version, model = request
    reader, writer = os.pipe()
    fork = os.fork()
    if fork == 0:
        os.close(reader)
        _prepare_and_exit(version, model, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    os.waitpid(fork, 0)
    if answer[:1] == _DONE:
        return [answer[1:]]
    raise RuntimeError(answer[1:].decode() or "QNN crashed over this graph")


def _prepare_and_exit(version: bytes, model: bytes, writer: int) -> None:
    try:
        answer = _DONE + _prepare(version, model)
    except Exception as error:
        answer = _REFUSED + str(error).encode()
    with os.fdopen(writer, "wb") as stream:
        stream.write(answer)
    os._exit(0)


def _prepare(version: bytes, model: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "context.onnx"
        options = session_options(version)
        options.add_session_config_entry("ep.context_enable", "1")
        options.add_session_config_entry("ep.context_embed_mode", "1")
        options.add_session_config_entry("ep.context_file_path", str(path))
        checked_session(model, options)
        return path.read_bytes()


if __name__ == "__main__":
    devices()
    serve(_answer)
