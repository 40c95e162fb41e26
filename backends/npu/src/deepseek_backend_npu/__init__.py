"""DeepSeek backend for NPUs: Arm Ethos-U, compiled by Vela and run command by command in an emulator."""

__all__ = ["__version__"]

__version__ = "0.1.0"
