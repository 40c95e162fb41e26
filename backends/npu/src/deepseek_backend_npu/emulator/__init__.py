"""An emulator of Ethos-U55 and U65: executes the register command stream that the hardware would."""

from deepseek_backend_npu.emulator.machine import Machine
from deepseek_backend_npu.emulator.stream import HazardError

__all__ = ["HazardError", "Machine"]
