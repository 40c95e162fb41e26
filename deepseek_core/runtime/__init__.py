"""Runtime: open a package on this machine and run it."""

from deepseek_core.runtime.fallback import Fallback
from deepseek_core.runtime.session import PartInfo, Session
from deepseek_core.runtime.step import PartError

__all__ = ["Fallback", "PartError", "PartInfo", "Session"]
