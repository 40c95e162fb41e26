"""Deliberately wrong backends, each of which the kit must catch."""

from . import arithmetic, artifacts, claims, declarations, executables, graphs
from .base import MUTANTS, Faithful, Mutant

__all__ = [
    "MUTANTS",
    "Faithful",
    "Mutant",
    "arithmetic",
    "artifacts",
    "claims",
    "declarations",
    "executables",
    "graphs",
]
