"""The Echo device: a DeepSeek backend to learn from."""

__all__ = ["__version__"]

__version__ = "0.1.0"
