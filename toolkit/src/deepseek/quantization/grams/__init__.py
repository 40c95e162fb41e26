"""Second moments of what weighted units read and make: all that an algorithm needs to choose weights."""

from deepseek.quantization.grams.collect import Measured
from deepseek.quantization.grams.layouts import Layout, layout_of
from deepseek.quantization.grams.moments import InputMoments, Moments, OutputMoments
from deepseek.quantization.grams.sites import Site, sites_of
from deepseek.quantization.grams.walk import Decision, walk

__all__ = [
    "Decision",
    "InputMoments",
    "Layout",
    "Measured",
    "Moments",
    "OutputMoments",
    "Site",
    "layout_of",
    "sites_of",
    "walk",
]
