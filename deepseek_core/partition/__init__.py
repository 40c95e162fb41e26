"""Partition: which target runs which unit, and the model cut accordingly."""

from deepseek_core.partition.claims import claims, derive_claims
from deepseek_core.partition.place import place
from deepseek_core.partition.roofline import roofline
from deepseek_core.partition.rules import refusal_reason
from deepseek_core.partition.solver import Offer, PreferenceSolver, Problem, Solution, Solver
from deepseek_core.partition.split import Part, split

__all__ = [
    "Offer",
    "Part",
    "PreferenceSolver",
    "Problem",
    "Solution",
    "Solver",
    "claims",
    "derive_claims",
    "place",
    "refusal_reason",
    "roofline",
    "split",
]
