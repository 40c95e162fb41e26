"""What the emulated architectures differ in.

Sources: AMD's instruction set architecture documents (CDNA 2, CDNA 3, CDNA 4, RDNA 2, RDNA 3, RDNA 4), sections on
kernel state, waiting, memory and local data share; LLVM's "User Guide for AMDGPU Backend" for code objects.
"""

from __future__ import annotations

from dataclasses import dataclass

from deepseek_backend_rocm.emulator.faults import CodeError

__all__ = ["ARCHITECTURES", "Architecture", "architecture_of"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """One processor.

    Attributes:
        name: as `-mcpu` has it.
        flags: lowest byte of its code objects' `e_flags` (LLVM guide, "ELF Header").
        wave: lanes of a wavefront.
        generation: 9 (CDNA), 10 (RDNA 2), 11 (RDNA 3) or 12 (RDNA 4).
        accumulators: whether there are AGPRs, in one file with the VGPRs.
        packed_ids: whether the three work-item ids come in one register.
        private_scratch: whether scratch needs no setup by the kernel ("architected flat scratch").
    """

    name: str
    flags: int
    wave: int
    generation: int
    accumulators: bool = False
    packed_ids: bool = True
    private_scratch: bool = True

    @property
    def split_counters(self) -> bool:
        """Loads, stores, LDS and scalar memory are waited for separately (RDNA 4, "Manually inserted waits")."""
        return self.generation >= 12

    @property
    def separate_stores(self) -> bool:
        """Stores do not count with loads (RDNA 2 and later, "VSCNT")."""
        return self.generation >= 10

    @property
    def zeroes_high_half(self) -> bool:
        """16-bit results clear the upper half of their register; from RDNA on they keep it."""
        return self.generation < 10

    @property
    def vgpr_granule(self) -> int:
        """Registers of a step in a descriptor's count (LLVM guide, "GRANULATED_WORKITEM_VGPR_COUNT")."""
        return 8


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture("gfx90a", 0x3F, 64, 9, accumulators=True, private_scratch=False),
        Architecture("gfx942", 0x4C, 64, 9, accumulators=True),
        Architecture("gfx950", 0x4F, 64, 9, accumulators=True),
        Architecture("gfx1030", 0x36, 32, 10, packed_ids=False, private_scratch=False),
        Architecture("gfx1100", 0x41, 32, 11),
        Architecture("gfx1201", 0x4E, 32, 12),
    )
}


def architecture_of(flags: int) -> Architecture:
    """The architecture that a code object's `e_flags` name.

    Raises:
        CodeError: it is not emulated.
    """
    for architecture in ARCHITECTURES.values():
        if architecture.flags == flags & 0xFF:
            return architecture
    known = ", ".join(ARCHITECTURES)
    raise CodeError(f"processor {flags & 0xFF:#x} of the code object is not emulated", fix=f"compile for {known}")
