"""What a kernel can do wrong, and what the emulator does not know."""

from __future__ import annotations

from deepseek_core.errors import BackendError

__all__ = ["CodeError", "KernelFault", "UnknownInstructionError"]


class CodeError(BackendError):
    """A code object that is damaged, for another architecture, or that needs what is not emulated."""


class UnknownInstructionError(CodeError):
    """An instruction that no table has; it names the instruction and the architecture."""


class KernelFault(BackendError):  # noqa: N818 - the field's word
    """A kernel that did what hardware forbids or leaves undefined; it names the instruction and its place.

    Attributes:
        access: which of an instruction's accesses it was, in the order of waves and lanes that execute.
    """

    def __init__(
        self, message: str, *, fix: str = "report a bug of the kernel or its compiler", access: int = -1
    ) -> None:
        super().__init__(message, fix=fix)
        self.access = access
