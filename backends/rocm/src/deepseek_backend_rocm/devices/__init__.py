"""What launches run on: a GPU through HIP, the emulator, or an NVIDIA GPU that checks the kernels' logic."""

__all__: list[str] = []
