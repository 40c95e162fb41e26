"""Deliberately wrong backends, each of which the kit must catch."""

from . import arithmetic, contract, graphs
from .base import MUTANTS, Faithful, Mutant

__all__ = ["MUTANTS", "Faithful", "Mutant", "arithmetic", "contract", "graphs"]
