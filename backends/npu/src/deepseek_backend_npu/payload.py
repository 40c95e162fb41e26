"""The Ethos-U driver payload: driver actions around a register command stream.

Format of the Ethos-U core driver (`ethosu_driver.c`, version "COP1"), as `driver_actions.py` of Vela writes it:

    word  0        four characters "COP1"
    then actions, each a word: command in bits 0-7, parameters above
      1  configuration: two words follow, the hardware's configuration and its id
      5  nothing (aligns the stream to 16 bytes)
      2  command stream: length in words in bits 16-31, with bits 8-15 above them; the words follow
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek_core.errors import PackageError

__all__ = ["DriverPayload", "parse"]

_MAGIC = b"COP1"
_CONFIG, _STREAM, _NOTHING = 1, 2, 5
_RECOMPILE = "compile the model again"


@dataclass(frozen=True, slots=True)
class DriverPayload:
    """A payload taken apart.

    Attributes:
        macs: multiply-accumulates a cycle that the stream was built for.
        stream_version: of the command stream.
        shram: KiB of shared buffer RAM over all cores, 0 for Ethos-U85.
        product: 0 Ethos-U55, 1 Ethos-U65, 2 Ethos-U85.
        identity: architecture version word.
        stream: the command words.
    """

    macs: int
    stream_version: int
    shram: int
    product: int
    identity: int
    stream: NDArray[np.uint32]


def parse(payload: bytes) -> DriverPayload:
    """Read a payload as the driver does.

    Raises:
        PackageError: it is not one.
    """
    if len(payload) % 4 or payload[:4] != _MAGIC:
        raise PackageError("not an Ethos-U driver payload", fix=_RECOMPILE)
    words = np.frombuffer(payload, "<u4")
    config: tuple[int, int] | None = None
    position = 1
    while position < len(words):
        action = int(words[position])
        command = action & 0xFF
        if command == _CONFIG and position + 2 < len(words):
            config = int(words[position + 1]), int(words[position + 2])
            position += 3
        elif command == _NOTHING:
            position += 1
        elif command == _STREAM:
            length = action >> 16 | (action >> 8 & 0xFF) << 16
            stream = words[position + 1 :]
            if config is None or len(stream) != length or (position + 1) % 4:
                break
            return _payload(config, stream)
        else:
            break
    raise PackageError("the Ethos-U driver payload is malformed", fix=_RECOMPILE)


def _payload(config: tuple[int, int], stream: NDArray[np.uint32]) -> DriverPayload:
    word, identity = config
    return DriverPayload(
        macs=1 << (word & 0xF),
        stream_version=word >> 4 & 0xF,
        shram=word >> 8 & 0xFF,
        product=word >> 28,
        identity=identity,
        stream=stream,
    )
