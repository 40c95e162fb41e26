"""Runtime: open a package on this machine and run it."""

from deepseek_core.runtime.session import PartInfo, Session

__all__ = ["PartInfo", "Session"]
