"""The toolkit of application developers: compression of neural networks for the hardware they have."""

__version__ = "0.1.0"

__all__ = ["__version__"]
