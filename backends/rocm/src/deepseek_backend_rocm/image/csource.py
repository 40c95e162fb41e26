"""An image as C: tables of ports, kernels and launches; constants, code objects and arguments are bytes beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from deepseek_backend_rocm.program import Image, Kernel, Launch, Pointer, Port, Program

__all__ = ["blob_and_source"]

_ALIGNMENT = 4096
"""Code objects are ELF files that HIP may map: each begins on a page."""


def blob_and_source(image: Image, name: str) -> tuple[bytes, str]:
    """`model.bin` and `model.c`."""
    blob = bytearray(image.constants)
    codes = [_append(blob, code, _ALIGNMENT) for code in image.codes]
    pointers: list[Pointer] = []
    programs = [
        _program(number, architecture, program, blob, pointers)
        for number, (architecture, program) in enumerate(sorted(image.programs.items()))
    ]
    parts = [
        '#include "launcher.h"\n',
        "extern const unsigned char ds_data[];\n",
        _array("ds_port", "inputs", map(_port, image.inputs)),
        _array("ds_port", "outputs", map(_port, image.outputs)),
        _array("ds_pointer", "pointers", map(_pointer, pointers)),
        _array("size_t", "codes", map(str, codes)),
        *(tables for tables, _ in programs),
        _array("ds_program", "programs", (entry for _, entry in programs)),
        _model(image, name),
    ]
    return bytes(blob), "\n".join(parts)


def _append(blob: bytearray, data: bytes, alignment: int) -> int:
    blob.extend(bytes(-len(blob) % alignment))
    place = len(blob)
    blob.extend(data)
    return place


def _program(
    number: int, architecture: str, program: Program, blob: bytearray, pointers: list[Pointer]
) -> tuple[str, str]:
    """Its tables, and its entry among the programs."""
    launches = [_launch(launch, blob, pointers) for launch in program.launches]
    tables = [
        _array("ds_kernel", f"kernels_{number}", map(_kernel, program.kernels)),
        _array("ds_launch", f"launches_{number}", launches),
    ]
    sizes = f"{len(program.kernels)}, {len(launches)}"
    entry = f"{{{_text(architecture)}, {program.arena}, kernels_{number}, launches_{number}, {sizes}}}"
    return "\n".join(tables), entry


def _launch(launch: Launch, blob: bytearray, pointers: list[Pointer]) -> str:
    place, first = _append(blob, launch.arguments, 16), len(pointers)
    pointers.extend(launch.pointers)
    grid = ", ".join(map(str, launch.grid))
    size = len(launch.arguments)
    return f"{{{launch.kernel}, {{{grid}}}, {place}, {size}, {first}, {len(launch.pointers)}}} /* {_comment(launch)} */"


def _comment(launch: Launch) -> str:
    return "".join(c if c.isascii() and c.isprintable() else " " for c in launch.unit).replace("*/", "* /")


def _kernel(kernel: Kernel) -> str:
    return f"{{{_text(kernel.symbol)}, {kernel.code}, {kernel.threads}, {kernel.shared}}}"


def _pointer(pointer: Pointer) -> str:
    return f"{{{pointer.position}, {int(pointer.space == 'constants')}, {pointer.offset}}}"


def _port(port: Port) -> str:
    shape = ", ".join(map(str, port.shape)) or "0"
    return f"{{{_text(port.name)}, {_text(port.dtype)}, {port.offset}, {port.bytes}, {len(port.shape)}, {{{shape}}}}}"


def _model(image: Image, name: str) -> str:
    counts = f"{len(image.inputs)}, {len(image.outputs)}, {len(image.programs)}, {len(image.codes)}"
    tables = "inputs, outputs, programs, pointers, codes, ds_data"
    return f"const ds_model ds_the_model = {{{_text(name)}, {tables}, {len(image.constants)}, {counts}}};\n"


def _array(kind: str, name: str, entries: Iterable[str]) -> str:
    rows: Sequence[str] = [f"    {entry},\n" for entry in entries] or ["    {0},\n"]
    return f"static const {kind} {name}[] = {{\n{''.join(rows)}}};\n"


def _text(text: str) -> str:
    """A C string; anything but plain ASCII in octal, of three digits so that nothing can follow into them."""
    if text.isascii() and text.isprintable():
        return json.dumps(text).replace("?", "\\?")
    return '"' + "".join(f"\\{byte:03o}" for byte in text.encode()) + '"'
