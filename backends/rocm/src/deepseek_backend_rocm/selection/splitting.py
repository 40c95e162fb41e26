"""A product in two launches: parts of every sum along its summed axis, then their sums (split-K).

It pays where few workgroups would sum for long: a layer of few rows and columns, and many products. Sums are integers,
so the result is the same bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator

from deepseek_backend_rocm.plan.steps import Buffer, Step

__all__ = ["splits"]

_UNIT = 128
"""Places of a part are a multiple of this: of every tile's step."""
_PARTS = (2, 4, 8, 16)


def splits(step: Step) -> Iterator[tuple[Step, Step]]:
    """The ways to compute a step in two, each with a buffer of its own between; none where it cannot be split."""
    if step.kernel != "conv" or step.constants["MODE"] != 0 or step.batch != 1:
        return
    inner, spans = step.integer("c"), set()
    for parts in _PARTS:
        span = -(-inner // (parts * _UNIT)) * _UNIT
        if span < inner and span not in spans:
            spans.add(span)
            yield _split(step, span, -(-inner // span))


def _split(step: Step, span: int, parts: int) -> tuple[Step, Step]:
    rows, columns = step.integer("rows"), step.integer("n")
    sums = Buffer(4 * parts * rows * columns)
    values = {name: step.values[name] for name in ("rows", "n", "c", "depth", "x_row")}
    memory = {"x": step.memory["x"], "w": step.memory["w"], "y": sums}
    first = Step("part", memory, {**values, "span": span}, batch=parts, unit=step.unit, macs=step.macs)
    memory = {"x": sums, **{name: step.memory[name] for name in ("bias", "factor", "addend", "y")}}
    values = {**step.values, "count": rows * columns, "parts": parts}
    constants = {name: step.constants[name] for name in ("ADD", "REAL")}
    return first, Step("join", memory, values, constants, dict(step.types), unit=step.unit)
