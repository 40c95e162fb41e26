"""Child process: Arm's weight decoder. Request: a compressed stream; answer: int16 weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepseek_backend_npu.serving import serve

__all__: list[str] = []


def _answer(request: list[bytes]) -> Sequence[bytes]:
    from ethosu import mlw_codec

    return [np.array(mlw_codec.decode(bytearray(request[0])), np.int16).tobytes()]


if __name__ == "__main__":
    serve(_answer)
