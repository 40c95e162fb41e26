"""Instructions of a code object, from LLVM's disassembler."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deepseek_backend_rocm.emulator.faults import CodeError
from deepseek_backend_rocm.emulator.operands import Operand, parse_operand

__all__ = ["FIX", "Instruction", "Modifier", "Modifiers", "disassemble", "find_objdump", "objdump_version"]

FIX = "apt-get install llvm-22 (llvm-19 knows all but gfx950)"
_VERSIONS = range(26, 18, -1)
_LINE = re.compile(r"^\s+(\S+)\s*(.*?)\s*//\s*([0-9A-F]+):((?:\s+[0-9A-F]{1,8})+)")
_SUFFIX = re.compile(r"_(e32|e64|e64_dpp|e64_dpp8|sdwa|dpp|dpp8)$")
_SPLIT = re.compile(r",(?![^\[(]*[\])])")

Modifier = bool | int | str | tuple[int, ...]


class Modifiers(dict[str, Modifier]):
    """What follows an instruction's operands, and whether anybody has asked for it: nothing is ignored by accident."""

    def __init__(self, values: Mapping[str, Modifier]) -> None:
        super().__init__(values)
        self._asked: set[str] = set()

    def number(self, name: str, default: int = 0) -> int:
        """A modifier that is a number; a flag is 1."""
        self._asked.add(name)
        value = self.get(name, default)
        assert isinstance(value, int), (name, value)
        return int(value)

    def flag(self, *names: str) -> bool:
        """Whether one of these is there."""
        self._asked.update(names)
        return any(name in self for name in names)

    def word(self, name: str, default: str = "") -> str:
        """A modifier that is a word."""
        self._asked.add(name)
        return str(self.get(name, default))

    def numbers(self, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """A modifier that is a list."""
        self._asked.add(name)
        value = self.get(name, default)
        assert isinstance(value, tuple), (name, value)
        return value

    @property
    def ignored(self) -> list[str]:
        """What nobody has asked for."""
        return sorted(self.keys() - self._asked)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Attributes:
        address: of its first byte.
        size: in bytes.
        name: mnemonic without what names the encoding.
        encoding: `e32`, `e64`, `sdwa`, `dpp` and so on; empty when the mnemonic does not tell.
        operands: in the order written; those of a dual instruction's second half are in `second`.
        modifiers: what follows the operands; flags are True.
        text: as disassembled.
        second: the other half of a dual instruction.
    """

    address: int
    size: int
    name: str
    encoding: str
    operands: tuple[Operand, ...]
    modifiers: Modifiers
    text: str
    second: Instruction | None = None


@functools.cache
def find_objdump() -> str | None:
    """A disassembler that knows AMD GPUs: the newest with a version in its name, else one without that knows them."""
    for version in _VERSIONS:
        path = shutil.which(f"llvm-objdump-{version}")
        if path is not None:
            return path
    path = shutil.which("llvm-objdump")
    return path if path is not None and objdump_version(path) >= _VERSIONS[-1] else None


@functools.cache
def objdump_version(path: str) -> int:
    """Major version of a disassembler that has AMD GPUs, or 0."""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"LLVM version (\d+)", done.stdout)
    return int(found[1]) if found and "amdgcn" in done.stdout else 0


def disassemble(data: bytes, processor: str) -> list[Instruction]:
    """All instructions of a code object, by address.

    Raises:
        CodeError: there is no disassembler, it does not know the processor, or something is no instruction.
    """
    objdump = find_objdump()
    if objdump is None:
        raise CodeError("llvm-objdump with AMD GPUs is not installed", fix=FIX)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "code.hsaco"
        path.write_bytes(data)
        done = subprocess.run(
            [objdump, "-d", f"--mcpu={processor}", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode or "not a recognized processor" in done.stderr:
        raise CodeError(f"llvm-objdump does not read code for {processor}: {done.stderr.strip()[:120]}", fix=FIX)
    return list(parse(done.stdout))


def parse(text: str) -> Iterator[Instruction]:
    """Instructions of a listing.

    Raises:
        CodeError: a line is no instruction.
    """
    for line in text.splitlines():
        found = _LINE.match(line)
        if found:
            words = found[4].split()
            yield _instruction(found[1], found[2], int(found[3], 16), 4 * len(words))
        elif line.startswith("\t"):
            raise CodeError(f"the disassembler does not know '{line.strip()}'", fix=FIX)


def _instruction(mnemonic: str, rest: str, address: int, size: int) -> Instruction:
    return replace(_parsed(mnemonic, rest), address=address, size=size)


@functools.lru_cache(maxsize=1 << 16)
def _parsed(mnemonic: str, rest: str) -> Instruction:
    """An instruction at no address."""
    text = f"{mnemonic} {rest}".strip()
    first, _, second = rest.partition(" :: ")
    other = None
    if second:
        name, _, operands = second.partition(" ")
        other = _parsed(name, operands)
    suffix = _SUFFIX.search(mnemonic)
    name = mnemonic[: suffix.start()] if suffix else mnemonic
    operands_text, modifiers = _modifiers(re.sub(r"\s*<.*>$", "", first))
    parsed = tuple(parse_operand(piece.strip()) for piece in operands_text)
    return Instruction(0, 0, name, suffix[1] if suffix else "", parsed, Modifiers(modifiers), text, other)


def _modifiers(text: str) -> tuple[list[str], dict[str, Modifier]]:
    """Operands, and what follows the last one."""
    pieces = [piece.strip() for piece in _SPLIT.split(text)] if text else []
    if not pieces:
        return [], {}
    words = re.findall(r"(?:[^\s\[(]|\[[^\]]*\]|\([^)]*\))+", pieces[-1])
    kept = [] if len(pieces) == 1 and words and _is_modifier(words[0]) else words[:1]
    return [*pieces[:-1], *kept], dict(map(_modifier, words[len(kept) :]))


def _is_modifier(word: str) -> bool:
    return (":" in word and "[" not in word.split(":", maxsplit=1)[0]) or "(" in word or word in ("sc0", "sc1", "nt")


def _modifier(word: str) -> tuple[str, Modifier]:
    called = re.match(r"(\w+)\((.*)\)$", word)
    name, colon, value = (called[1], ":", called[2]) if called else word.partition(":")
    if not colon:
        return name, True
    if value.startswith("["):
        return name, tuple(int(part, 0) for part in value[1:-1].split(","))
    try:
        return name, int(value, 0)
    except ValueError:
        return name, value
