"""The steps a recipe may name. Each is a frozen dataclass in a module of its own: its fields are its options."""

from deepseek.quantization.steps.base import STEPS, Step, StepSpec

__all__ = ["STEPS", "Step", "StepSpec"]
