"""A program as C: one initializer for each step, with the constants beside it in a file of their own."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deepseek_backend_arm import __version__
from deepseek_backend_arm.plan.abi import KERNELS, Value
from deepseek_backend_arm.plan.program import TYPES, Port, Program, Step

__all__ = ["CONSTANTS", "MARKER", "Identity", "model_source"]

MARKER = "DSIMAGE1"
CONSTANTS = """\
/* The constants, writable: ds_open orders the weights for the CPU in place. */
    .section .data
    .globl ds_constants
    .balign 64
ds_constants:
    .incbin "constants.bin"
    .zero 64
    .section .note.GNU-stack, "", %progbits
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """What an image says about itself.

    Attributes:
        name: of the model.
        sha256: of the model.
        target: what it was built for.
        level: position in `targets.LEVELS` of what its CPU must have.
    """

    name: str
    sha256: str
    target: str
    level: int


def model_source(program: Program, identity: Identity) -> str:
    """`program.c`: the steps with their arguments, inputs, outputs, and the model that names them."""
    return "\n".join(
        [
            f"/* {_comment(identity.name)}: made by deepseek-backend-arm for {identity.target}. */",
            '#include <math.h>\n\n#include "args.h"\n',
            "extern uint8_t ds_constants[];\n",
            *(_step(number, step) for number, step in enumerate(program.steps)),
            _array("ds_step", "steps", [f"{{ds_{s.kernel}, &step_{n}}}" for n, s in enumerate(program.steps)]),
            _array("ds_tensor", "inputs", [_port(port) for port in program.inputs]),
            _array("ds_tensor", "outputs", [_port(port) for port in program.outputs]),
            _array("ds_pack", "packs", [f"{{{offset}, {size}}}" for offset, size in program.packs]),
            f"const char ds_description[] = {_text(_description(program, identity))};\n",
            "const ds_model ds_program = {",
            *(f"    .{name} = {value}," for name, value in _members(program, identity)),
            "};\n",
        ]
    )


def _description(program: Program, identity: Identity) -> str:
    """What `deepseek run` finds in an image; see `deepseek_core.image_file`."""
    ports = {
        role: [[port.name, port.dtype, list(port.shape)] for port in found]
        for role, found in (("inputs", program.inputs), ("outputs", program.outputs))
    }
    return MARKER + json.dumps({"target": identity.target, "format": "bin", **ports}, separators=(",", ":"))


def _members(program: Program, identity: Identity) -> Iterator[tuple[str, str]]:
    yield "name", _text(identity.name)
    yield "hash", _text(identity.sha256)
    yield "target", _text(f"{identity.target}, deepseek-backend-arm {__version__}")
    yield "description", "ds_description"
    yield "level", str(identity.level)
    yield "arena", str(program.arena)
    yield "scratch", str(program.scratch)
    yield "constants_size", str(len(program.constants))
    yield "checksum", f"{_checksum(program.constants)}u"
    for name in ("inputs", "outputs", "steps", "packs"):
        pieces: Sequence[object] = getattr(program, name)
        yield f"{name}_count", str(len(pieces))
        yield name, name if pieces else "NULL"
    yield "constants", "ds_constants"


def _checksum(constants: bytes) -> int:
    """As `ds_model` has it."""
    words = np.frombuffer(constants + bytes(-len(constants) % 8), "<u8")
    return int((words * (2 * np.arange(words.size, dtype=np.uint64) + np.uint64(1))).sum(dtype=np.uint64))


def _step(number: int, step: Step) -> str:
    arguments = step.arguments()
    names = [n for k in (KERNELS[step.kernel],) for n in (*k.places, *k.integers, *k.reals, *k.arrays)]
    fields = ", ".join(f".{name} = {_value(arguments[name])}" for name in names)
    return f"/* {_comment(step.unit)} */\nstatic const ds_{step.kernel}_args step_{number} = {{{fields}}};\n"


def _value(value: Value) -> str:
    if isinstance(value, tuple):
        return "{" + ", ".join(map(str, value)) + "}"
    if isinstance(value, float) and not math.isfinite(value):
        return "NAN" if math.isnan(value) else "INFINITY" if value > 0 else "-INFINITY"
    if isinstance(value, float):  # hexadecimal, so that no digit is lost
        return f"{value.hex()}f"
    return str(value)


def _port(port: Port) -> str:
    dims = ", ".join(map(str, port.shape)) or "0"
    size = port.buffer.bytes
    place, kind = port.buffer.place, TYPES.index(port.dtype)
    return f"{{{_text(port.name)}, {kind}, {len(port.shape)}, {{{dims}}}, {place}, {size}}}"


def _array(kind: str, name: str, entries: Sequence[str]) -> str:
    if not entries:
        return ""
    rows = "".join(f"    {entry},\n" for entry in entries)
    return f"static const {kind} {name}[] = {{\n{rows}}};\n"


def _text(text: str) -> str:
    """A C string; bytes outside ASCII are written in octal, of three digits so that nothing can follow into them."""
    plain = json.dumps(text)[1:-1] if text.isascii() and text.isprintable() else None
    if plain is not None:
        return f'"{plain}"'
    return '"' + "".join(f"\\{byte:03o}" for byte in text.encode()) + '"'


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).replace("*/", "* /").replace("??/", "?? /")
