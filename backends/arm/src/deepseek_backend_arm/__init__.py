"""ARM CPUs: quantized models as C with hand-written NEON kernels, in images that need nothing else."""

__all__ = ["__version__"]

__version__ = "0.1.0"
