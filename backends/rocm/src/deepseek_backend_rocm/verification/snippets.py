"""Single instructions on the emulator: registers in, registers out."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from deepseek_backend_rocm.emulator.architecture import ARCHITECTURES
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.code import CodeObject, read_code
from deepseek_backend_rocm.emulator.machine import Machine
from deepseek_backend_rocm.verification.assembly import assemble, code_object

__all__ = ["FIRST", "SCALAR", "TARGET", "Snippets"]

FIRST, SCALAR, TARGET = 10, 20, 40
"""First vector register with an input, first scalar one, and the vector register that is a result."""
_BODY_LDS = 4096


class Snippets:
    """Instructions that each write v40 (or v40 and on, `width` registers), assembled into one kernel.

    Inputs are in v10 and on and s20 and on; each snippet starts from the same inputs, and v40 from the last of them.

    Args:
        processor: architecture.
        snippets: instructions, several separated by line breaks.
        inputs: vector registers that are set.
        scalars: scalar registers that are set, a multiple of 4.
        width: registers of a result.
        waves: of the one workgroup.
    """

    def __init__(
        self,
        processor: str,
        snippets: Sequence[str],
        *,
        inputs: int = 3,
        scalars: int = 4,
        width: int = 1,
        waves: int = 1,
    ) -> None:
        self._architecture = ARCHITECTURES[processor]
        self._snippets, self._inputs, self._scalars, self._width = len(snippets), inputs, scalars, width
        self.threads = self._architecture.wave * waves
        self._code: CodeObject = read_code(
            code_object(assemble(self._text(snippets), processor), processor, lds=_BODY_LDS)
        )

    def _text(self, snippets: Sequence[str]) -> str:
        """The kernel: inputs are loaded anew for each snippet, so that none disturbs the next."""
        split = self._architecture.split_counters
        wait = "s_wait_idle" if split else "s_waitcnt vmcnt(0) lgkmcnt(0)"
        lines = ["s_load_dwordx4 s[4:7], s[0:1], 0x0", "s_load_dwordx2 s[8:9], s[0:1], 0x10", wait]
        lines += ["v_and_b32 v0, 0x3ff, v0", "v_lshlrev_b32 v1, 2, v0"]
        step = 4 * self.threads
        for number, snippet in enumerate(snippets):
            lines += [f"s_load_dword s{SCALAR + i}, s[8:9], {4 * i}" for i in range(self._scalars)]
            for i in range(self._inputs):
                lines += [f"v_add{self._no_carry} v2, {i * step}, v1", f"global_load_dword v{FIRST + i}, v2, s[4:5]"]
            lines += [wait]
            lines += [f"v_mov_b32 v{TARGET + i}, v{FIRST + self._inputs - 1}" for i in range(self._width)]
            lines += [snippet, wait]
            for i in range(self._width):
                place = (number * self._width + i) * step
                lines += [f"v_add{self._no_carry} v2, {place}, v1", f"global_store_dword v2, v{TARGET + i}, s[6:7]"]
        return "\n".join([*lines, "s_endpgm"]) + "\n"

    @property
    def _no_carry(self) -> str:
        return "_u32" if self._architecture.generation < 10 else "_nc_u32"

    def run(self, vectors: Array, scalars: Sequence[int] = ()) -> Array:
        """Results of each snippet, uint32 [snippets, width, threads].

        Args:
            vectors: inputs, uint32 [inputs, threads].
            scalars: inputs, the rest being 0.
        """
        machine = Machine()
        words = np.zeros(max(self._scalars, 1), np.uint32)
        words[: len(scalars)] = np.array([value & 0xFFFFFFFF for value in scalars], np.uint32)
        places = []
        for data in (np.ascontiguousarray(vectors, np.uint32), words):
            places.append(machine.memory.allocate(data.nbytes))
            machine.memory.store(places[-1], data.reshape(-1).view(np.uint8))
        size = 4 * self._snippets * self._width * self.threads
        out = machine.memory.allocate(size)
        arguments = struct.pack("<3Q", places[0], out, places[1]).ljust(64, b"\0")
        machine.launch(self._code.kernel("snippet"), (1, 1, 1), self.threads, arguments)
        result = machine.memory.load(out, size).view(np.uint32)
        return result.reshape(self._snippets, self._width, self.threads)
