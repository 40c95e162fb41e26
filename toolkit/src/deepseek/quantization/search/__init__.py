"""Searches for a recipe: within an accuracy budget (`auto`), and the fastest mix of precisions (`mixed`)."""

from deepseek.quantization.search.auto import auto
from deepseek.quantization.search.budget import Budget, Score
from deepseek.quantization.search.mixing import mixed
from deepseek.quantization.search.outcome import Outcome, Trial

__all__ = ["Budget", "Outcome", "Score", "Trial", "auto", "mixed"]
