"""Watch the values of a float model while it runs, those inside branches and loop bodies included."""

from deepseek_core.observe.observer import Observer

__all__ = ["Observer"]
