"""What can go wrong in here, as data that crosses a process border."""

from __future__ import annotations

__all__ = ["DeviceMemoryError", "VendorError"]


class VendorError(Exception):
    """A mistake or a refusal with what to do about it.

    Attributes:
        message: what is wrong.
        fix: what to do.
        kind: for callers that react: `memory`, `shape`, `build`, `plan`, `device`, `toolchain` or empty.
    """

    def __init__(self, message: str, fix: str, kind: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.kind = kind


class DeviceMemoryError(VendorError):
    """The device has not enough memory left; what was allocated before is intact."""

    def __init__(self, size: int, free: int, what: str) -> None:
        super().__init__(
            f"out of device memory: {what} needs {size:,} bytes, {free:,} are free",
            "close other sessions, run smaller batches, or compile with a smaller profile",
            "memory",
        )
