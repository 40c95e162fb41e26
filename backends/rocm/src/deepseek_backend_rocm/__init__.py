"""DeepSeek on AMD GPUs: Triton kernels compiled to code objects, run by HIP or by an emulator of the machine code."""

__all__ = ["__version__"]

__version__ = "0.1.0"
