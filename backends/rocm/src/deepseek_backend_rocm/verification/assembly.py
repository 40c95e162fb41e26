"""Code objects from assembly text: LLVM's assembler for the instructions, and an ELF file around them.

For tests of single instructions, where a compiler would choose its own.
"""

from __future__ import annotations

import functools
import shutil
import struct
import subprocess

from deepseek_backend_rocm.emulator.architecture import ARCHITECTURES
from deepseek_backend_rocm.emulator.disassembly import FIX, find_objdump, objdump_version
from deepseek_core.errors import BackendError

__all__ = ["assemble", "code_object", "find_assembler"]

_CODE, _DESCRIPTOR = 0x1000, 0x800
_KERNEL_ARGUMENTS, _WAVE32 = 1 << 3, 1 << 10
_DENORMALS = 0xF << 16


@functools.cache
def find_assembler() -> str | None:
    """The assembler of the disassembler's version."""
    objdump = find_objdump()
    if objdump is None:
        return None
    version = objdump_version(objdump)
    return shutil.which(f"llvm-mc-{version}") or shutil.which("llvm-mc")


def assemble(text: str, processor: str) -> bytes:
    """Machine code of instructions, one a line.

    Raises:
        BackendError: there is no assembler, or it refuses an instruction.
    """
    assembler = find_assembler()
    if assembler is None:
        raise BackendError("llvm-mc is not installed", fix=FIX)
    done = subprocess.run(
        [assembler, "-triple=amdgcn-amd-amdhsa", f"-mcpu={processor}", "-filetype=obj", "-o", "-"],
        input=text.encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise BackendError(f"llvm-mc refuses: {done.stderr.decode().strip()[:300]}", fix="correct the instruction")
    return _text_section(done.stdout)


def _text_section(data: bytes) -> bytes:
    sections, size, count, names = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HHH", data, 58)
    headers = [struct.unpack_from("<IIQQQQ", data, sections + i * size) for i in range(count)]
    strings = headers[names][4]
    for name, _, _, _, offset, length in headers:
        if data[strings + name :].split(b"\0", 1)[0] == b".text":
            return data[offset : offset + length]
    return b""


def code_object(code: bytes, processor: str, *, name: str = "snippet", arguments: int = 64, lds: int = 0) -> bytes:
    """An ELF file with one kernel, which has the address of its arguments in s[0:1].

    Args:
        code: its instructions.
        processor: for which they are.
        name: its symbol.
        arguments: bytes of its arguments.
        lds: bytes of its local memory.
    """
    architecture = ARCHITECTURES[processor]
    descriptor = _descriptor(processor, arguments, lds)
    strings = f"\0{name}\0{name}.kd\0".encode()
    symbols = bytes(24)
    symbols += struct.pack("<IBBHQQ", 1, 0x12, 3, 2, _CODE, len(code))
    symbols += struct.pack("<IBBHQQ", 2 + len(name), 0x11, 3, 1, _DESCRIPTOR, 64)
    sections_names = b"\0.rodata\0.text\0.dynsym\0.dynstr\0.shstrtab\0"
    body = bytearray(_CODE) + code
    body[_DESCRIPTOR : _DESCRIPTOR + 64] = descriptor
    places = []
    for part in (symbols, strings, sections_names):
        body += bytes(-len(body) % 8)
        places.append(len(body))
        body += part
    body += bytes(-len(body) % 8)
    headers = [
        (0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        (1, 1, 2, _DESCRIPTOR, _DESCRIPTOR, 64, 0, 0, 64, 0),
        (9, 1, 6, _CODE, _CODE, len(code), 0, 0, 256, 0),
        (15, 11, 2, 0, places[0], len(symbols), 4, 1, 8, 24),
        (23, 3, 2, 0, places[1], len(strings), 0, 0, 1, 0),
        (31, 3, 0, 0, places[2], len(sections_names), 0, 0, 1, 0),
    ]
    table = len(body)
    body += b"".join(struct.pack("<IIQQQQIIQQ", *header) for header in headers)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, _CODE + len(code), _CODE + len(code), 0x1000)
    body[64 : 64 + len(load)] = load
    flags = architecture.flags
    body[:64] = (
        b"\x7fELF\x02\x01\x01\x40\x04"
        + bytes(7)
        + struct.pack("<HHIQQQIHHHHHH", 3, 0xE0, 1, 0, 64, table, flags, 64, 56, 1, 64, len(headers), 5)
    )
    return bytes(body)


def _descriptor(processor: str, arguments: int, lds: int) -> bytes:
    """With as many registers as there are, all three workgroup ids, and denormals kept."""
    architecture = ARCHITECTURES[processor]
    granules = 63 if architecture.accumulators else 31
    rsrc1 = granules | _DENORMALS
    rsrc2 = 2 << 1 | 7 << 7
    rsrc3 = 63 if architecture.accumulators else 0
    properties = _KERNEL_ARGUMENTS | (_WAVE32 if architecture.wave == 32 else 0)
    head = struct.pack("<IIIIq", lds, 0, arguments, 0, _CODE - _DESCRIPTOR)
    return head + bytes(20) + struct.pack("<IIIHH", rsrc3, rsrc1, rsrc2, properties, 0) + bytes(4)
