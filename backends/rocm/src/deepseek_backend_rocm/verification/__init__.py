"""Checks of the emulator and of kernels: code objects from assembly text, and machine code with one thing wrong."""

__all__: list[str] = []
