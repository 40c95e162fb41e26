"""Samples from folders and files: NumPy arrays and images, in the form a model's inputs ask for."""

from __future__ import annotations

from deepseek_core.data.arrays import fit_one
from deepseek_core.data.feeds import random_feeds, read_feeds, save_outputs
from deepseek_core.data.images import ImageOptions
from deepseek_core.data.samples import Samples

__all__ = ["ImageOptions", "Samples", "fit_one", "random_feeds", "read_feeds", "save_outputs"]
