"""A compiled part as a C header for firmware that uses the Ethos-U core driver.

The driver is given the payload and base addresses: 0 the constants, 1 the tensor arena, 2 the fast arena; inputs and
outputs are offsets into the arena. Everything a caller needs is a macro or an array in the header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from deepseek_backend_npu.container import Container
from deepseek_backend_npu.lowering.program import Border, HostStep
from deepseek_backend_npu.tosa.schema import NUMPY
from deepseek_backend_npu.vela import Placed
from deepseek_core.errors import BackendError

__all__ = ["header"]

_BYTES_A_LINE = 24
_ARENA = 1


def header(container: Container, name: str = "deepseek_model") -> bytes:
    """The header's text, ASCII.

    Raises:
        BackendError: nothing of the part runs on the NPU, or an input or output lies outside of the arena.
    """
    if not container.payload:
        raise BackendError("no unit of this part runs on the NPU", fix="compile a part with quantized units")
    return "\n".join(_lines(container, name)).encode("ascii") + b"\n"


def _lines(container: Container, name: str) -> Iterator[str]:
    upper = name.upper()
    yield f"/* {container.device}: command stream and constants for the Ethos-U core driver. Generated; do not edit. */"
    yield f"#ifndef {upper}_H\n#define {upper}_H\n\n#include <stddef.h>\n#include <stdint.h>\n"
    yield f"#define {upper}_ARENA_SIZE {container.scratch}u"
    yield f"#define {upper}_FAST_ARENA_SIZE {container.scratch_fast}u\n"
    yield from _borders(f"{upper}_INPUT", container.feeds, container.placed_feeds, container.before)
    yield from _borders(f"{upper}_OUTPUT", container.results, container.placed_results, container.after)
    yield from _array(f"{name}_payload", container.payload)
    yield from _array(f"{name}_constants", container.constants)
    yield from _invoke(name)
    yield f"#endif /* {upper}_H */"


def _borders(
    prefix: str, borders: Sequence[Border], places: Sequence[Placed], steps: Sequence[HostStep]
) -> Iterator[str]:
    yield f"#define {prefix}_COUNT {len(borders)}"
    for number, (border, placed) in enumerate(zip(borders, places, strict=True)):
        if placed.region != _ARENA:
            raise BackendError(f"'{border.name}' lies outside of the arena", fix="use another memory mode")
        one = f"{prefix}{number}"
        shape = ", ".join(map(str, border.shape))
        axes = ", ".join(map(str, border.order))
        yield f"/* {_comment(border.name)}: {NUMPY[border.dtype]} [{shape}], axes {axes} of the model's */"
        yield f"#define {one}_OFFSET {placed.address}u"
        yield f"#define {one}_SIZE {placed.size}u"
        for step in steps:
            if border.name in (step.source, step.result) and step.qparams.scale.size == 1:
                scale, zero = float(step.qparams.scale.reshape(-1)[0]), int(step.qparams.zero_point.reshape(-1)[0])
                yield f"#define {one}_SCALE {scale!r}f\n#define {one}_ZERO_POINT ({zero})"
                break
    yield ""


def _array(name: str, data: bytes) -> Iterator[str]:
    yield f"static const uint8_t {name}[{max(len(data), 1)}] __attribute__((aligned(16))) = {{"
    for start in range(0, max(len(data), 1), _BYTES_A_LINE):
        yield "  " + ", ".join(map(str, data[start : start + _BYTES_A_LINE] or b"\0")) + ","
    yield "};\n"


def _invoke(name: str) -> Iterator[str]:
    """With `ethosu_driver.h` included first, a function that runs the part once."""
    upper = name.upper()
    yield "#ifdef ETHOSU_DRIVER_H"
    yield "/* arena, fast: 16-byte aligned and as large as the macros say. */"
    yield f"static inline int {name}_invoke(struct ethosu_driver *driver, uint8_t *arena, uint8_t *fast) {{"
    yield f"  uint64_t base[3] = {{(uint64_t)(uintptr_t){name}_constants, (uint64_t)(uintptr_t)arena,"
    yield "                      (uint64_t)(uintptr_t)fast};"
    yield f"  size_t size[3] = {{sizeof {name}_constants, {upper}_ARENA_SIZE, {upper}_FAST_ARENA_SIZE}};"
    yield f"  return ethosu_invoke_v3(driver, {name}_payload, (int)sizeof {name}_payload, base, size, 3, NULL);"
    yield "}"
    yield "#endif\n"


def _comment(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_ .:/-]", "?", text).replace("*/", "? ")
