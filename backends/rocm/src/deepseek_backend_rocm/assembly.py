"""What the assembly of a kernel says: resources, and the instructions of its inner loop."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Listing", "read_assembly"]


@dataclass(frozen=True, slots=True)
class Listing:
    """Facts of a compiled kernel.

    Attributes:
        vector, accumulator, scalar: registers of one lane, or of the wavefront.
        spills: vector registers that were spilled to memory. Scalar ones are kept in lanes of vector registers, by
            instructions that count.
        scratch: bytes of private memory of a lane.
        arguments: bytes of the kernel arguments.
        occupancy: wavefronts of it that a SIMD holds, as far as registers decide.
        inner: mnemonic → how often it stands in the innermost loops with the most work; empty without a loop.
        whole: the same for the whole kernel.
    """

    vector: int
    accumulator: int
    scalar: int
    spills: int
    scratch: int
    arguments: int
    occupancy: int
    inner: Mapping[str, int] = field(repr=False)
    whole: Mapping[str, int] = field(repr=False)


_LABEL = re.compile(r"^(\.LBB\w+):")
_BRANCH = re.compile(r"^s_c?branch\w*\s+(\.LBB\w+)")
_WORD = re.compile(r"^([a-z]\w+)")


def read_assembly(text: str, loops: int = 1) -> Listing:
    """From the text that the compiler writes.

    Args:
        loops: that do the work, one after the other.
    """
    body = _instructions(text)
    return Listing(
        _number(r"\.vgpr_count:\s+(\d+)", text),
        _number(r"\.agpr_count:\s+(\d+)", text),
        _number(r"\.sgpr_count:\s+(\d+)", text),
        _number(r"\.vgpr_spill_count:\s+(\d+)", text),
        _number(r"\.private_segment_fixed_size:\s+(\d+)", text),
        _number(r"\.kernarg_segment_size:\s+(\d+)", text),
        _number(r"; Occupancy:\s+(\d+)", text),
        _counted(_innermost(body, loops)),
        _counted(body),
    )


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def _instructions(text: str) -> list[str]:
    """Labels and instructions of the kernel, without comments."""
    lines = (line.split(";")[0].strip() for line in text.splitlines())
    return [line for line in lines if _LABEL.match(line) or (_WORD.match(line) and not line.startswith("."))]


def _innermost(body: Sequence[str], most: int) -> list[str]:
    """The loops without a loop in them that have the most matrix instructions, or the most instructions of any kind."""
    labels = {match[1]: number for number, line in enumerate(body) if (match := _LABEL.match(line))}
    spans = [
        (labels[match[1]], number)
        for number, line in enumerate(body)
        if (match := _BRANCH.match(line)) and labels.get(match[1], number + 1) <= number
    ]
    inner = [(a, b) for a, b in spans if not any((c, d) != (a, b) and a <= c and d <= b for c, d in spans)]
    inner.sort(key=lambda span: (_matrix(body[span[0] : span[1]]), span[1] - span[0]), reverse=True)
    return [line for first, last in inner[:most] for line in body[first : last + 1]]


def _matrix(lines: Sequence[str]) -> int:
    return sum(line.startswith(("v_mfma", "v_wmma", "v_dot")) for line in lines)


def _counted(lines: Sequence[str]) -> dict[str, int]:
    words = (match[1] for line in lines if (match := _WORD.match(line)))
    return dict(sorted(Counter(words).items()))
