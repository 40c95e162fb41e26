"""Everything that touches TensorRT or the CUDA driver.

These modules use the standard library alone and run on Python 3.10 or newer, because TensorRT 8.6 has bindings for no
Python that the core supports: a child process of another interpreter can run them (see `child`).
"""

__all__: list[str] = []
