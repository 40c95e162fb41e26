"""The artifact of a part: an image in a frame, whose sections are the constants, then the code objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from deepseek_backend_rocm.program import SIZES, Image, Kernel, Launch, Pointer, Port, Program
from deepseek_core import Frame

__all__ = ["FORMAT", "FRAME", "decode", "encode"]

FORMAT = "rocm-image"
FRAME = Frame(b"DSRO", 1, "ROCm artifact")


def encode(image: Image) -> bytes:
    """The bytes that `decode` reads; equal images have equal bytes."""
    listing = {
        "inputs": [asdict(port) for port in image.inputs],
        "outputs": [asdict(port) for port in image.outputs],
        "programs": {name: _listed(program) for name, program in image.programs.items()},
        "report": image.report,
    }
    return FRAME.pack(listing, (image.constants, *image.codes))


def decode(data: bytes) -> Image:
    """Read an artifact.

    Raises:
        PackageError: it is none, damaged, or of another format version.
    """
    return FRAME.unpack(data, _checked)


def _listed(program: Program) -> dict[str, Any]:
    launches = [{**asdict(launch), "arguments": launch.arguments.hex()} for launch in program.launches]
    return {"arena": program.arena, "kernels": [asdict(kernel) for kernel in program.kernels], "launches": launches}


def _checked(listing: Mapping[str, Any], sections: list[bytes]) -> Image:
    constants, *codes = sections
    inputs, outputs = (tuple(map(_port, listing[name])) for name in ("inputs", "outputs"))
    programs = {str(name): _program(entry) for name, entry in listing["programs"].items()}
    for program in programs.values():
        _check(program, (*inputs, *outputs), len(constants), len(codes))
    return Image(inputs, outputs, programs, constants, tuple(codes), dict(listing["report"]))


def _port(entry: Mapping[str, Any]) -> Port:
    if entry["dtype"] not in SIZES:
        raise ValueError(f"'{entry['name']}' of dtype {entry['dtype']}")
    shape = tuple(map(int, entry["shape"]))
    return Port(str(entry["name"]), entry["dtype"], shape, int(entry["offset"]))


def _program(entry: Mapping[str, Any]) -> Program:
    kernels = (Kernel(**{**kernel, "symbol": str(kernel["symbol"])}) for kernel in entry["kernels"])
    return Program(int(entry["arena"]), tuple(kernels), tuple(map(_launch, entry["launches"])))


def _launch(entry: Mapping[str, Any]) -> Launch:
    x, y, z = map(int, entry["grid"])
    pointers = tuple(Pointer(**pointer) for pointer in entry["pointers"])
    return Launch(int(entry["kernel"]), (x, y, z), bytes.fromhex(entry["arguments"]), pointers, str(entry["unit"]))


def _check(program: Program, ports: tuple[Port, ...], constants: int, codes: int) -> None:
    """Nothing that a program names lies outside of what there is."""
    room = {"arena": program.arena, "constants": constants}
    for port in ports:
        if port.offset < 0 or min(port.shape, default=0) < 0 or port.offset + port.bytes > program.arena:
            raise ValueError(f"'{port.name}' lies outside the arena")
    for kernel in program.kernels:
        if not 0 <= kernel.code < codes or kernel.threads < 1 or kernel.shared < 0:
            raise ValueError(f"kernel '{kernel.name}' names code or sizes that do not exist")
    for launch in program.launches:
        if not 0 <= launch.kernel < len(program.kernels) or min(launch.grid) < 1:
            raise ValueError(f"'{launch.unit}' launches a kernel or a grid that does not exist")
        if len(launch.arguments) != program.kernels[launch.kernel].arguments:
            raise ValueError(f"'{launch.unit}' has arguments of another size than its kernel")
        for pointer in launch.pointers:
            inside = pointer.offset >= 0 and 0 <= pointer.bytes <= room[pointer.space] - pointer.offset
            if not inside or not 0 <= pointer.position <= len(launch.arguments) - 8:
                raise ValueError(f"'{launch.unit}' points outside of its {pointer.space}")
