"""A HIP runtime library without a GPU: its kernels run in the emulator. For tests of whatever calls HIP."""

from deepseek_backend_rocm.fake_hip.build import build, environment

__all__ = ["build", "environment"]
