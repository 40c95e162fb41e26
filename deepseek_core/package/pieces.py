"""A payload in pieces: bytes of its own, and ranges of `model.weights` that it would only repeat.

Backends copy most constants into what they build, and a package has them already. What a backend rewrote (another
layout, packed, folded) matches no constant and stays in the artifact's own member.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from deepseek_core.package.weights import Constant

__all__ = ["EXPANSION", "Finder", "Piece", "join", "literals", "problem"]

EXPANSION = 16
"""All payloads of a package together repeat at most this many times the size of `model.weights`: a small file must
not unfold into any amount of memory."""

_STRIDE, _KEY = 128, 32  # half of weights.THRESHOLD must hold both


@dataclass(frozen=True, slots=True)
class Piece:
    """The next `length` bytes of a payload.

    Attributes:
        offset: where they are in `model.weights`; None: they are the next in the artifact's own member.
    """

    length: int
    offset: int | None = None


class Finder:
    """Finds stored constants in payloads, in time linear in the sizes of both.

    Like rsync (Tridgell and Mackerras, "The rsync algorithm", 1996, section 3), it looks up samples of one side in an
    index of every offset of the other. Here a sample every `_STRIDE` bytes of the payload must fall into a window of
    that width in the middle of a constant, wherever the constant lies; starts are often padding.
    """

    def __init__(self, constants: Sequence[Constant]) -> None:
        self._budget = EXPANSION * max((c.offset + c.size for c in constants), default=0)
        self._index: dict[bytes, list[Constant]] = {}
        for constant in sorted(constants, key=lambda c: c.size, reverse=True):
            content, middle = constant.content(), constant.size // 2
            for key in {content[at : at + _KEY] for at in range(middle, middle + _STRIDE)}:
                self._index.setdefault(key, []).append(constant)

    def cut(self, payload: bytes) -> tuple[Piece, ...]:
        """The payload in pieces; equal calls give equal pieces."""
        pieces, end = [], 0
        for start, constant in self._runs(payload):
            if start > end:
                pieces.append(Piece(start - end))
            pieces.append(Piece(constant.size, constant.offset))
            end = start + constant.size
        if end < len(payload):
            pieces.append(Piece(len(payload) - end))
        return tuple(pieces)

    def _runs(self, payload: bytes) -> Iterator[tuple[int, Constant]]:
        """Where constants lie in the payload: ascending, apart from each other."""
        end = 0
        retry: dict[int, int] = {}  # by offset: one repeated value is met from its first byte on, half its size early
        for at in range(0, len(payload), _STRIDE):
            if at < end:
                continue
            for constant in self._index.get(payload[at : at + _KEY], ()):
                if at < retry.get(constant.offset, 0) or constant.size > self._budget:
                    continue
                near = at - constant.size // 2  # within a stride; a repeated value is met less exactly
                limits = max(end, near - 2 * _STRIDE), near + _STRIDE + constant.size
                start = payload.find(constant.content(), *limits)
                if start >= 0:
                    yield start, constant
                    self._budget -= constant.size
                    end = start + constant.size
                    break
                retry[constant.offset] = at + constant.size // 2


def literals(payload: bytes, pieces: Iterable[Piece]) -> Iterator[memoryview]:
    """What of a payload its own member holds."""
    view = memoryview(payload)
    for piece in pieces:
        if piece.offset is None:
            yield view[: piece.length]
        view = view[piece.length :]


def join(pieces: Iterable[Piece], own: memoryview, weights: memoryview) -> bytes:
    """The payload, from pieces that have no `problem`."""
    found = []
    for piece in pieces:
        if piece.offset is None:
            found.append(own[: piece.length])
            own = own[piece.length :]
        else:
            found.append(weights[piece.offset : piece.offset + piece.length])
    return b"".join(found)


def problem(pieces: Sequence[Piece], own: int, weights: int) -> str | None:
    """Why pieces do not fit an artifact's member of `own` bytes and a `model.weights` of `weights`; None if they do."""
    if any(piece.length == 0 for piece in pieces):
        return "has an empty piece"
    if sum(piece.length for piece in pieces if piece.offset is None) != own:
        return "does not use its member's bytes once"
    if any(piece.offset + piece.length > weights for piece in pieces if piece.offset is not None):
        return "refers beyond the stored weights"
    return None
