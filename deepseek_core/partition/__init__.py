"""Partition: which target runs which unit, and the model cut accordingly."""

from deepseek_core.partition.claims import claims, derive_claims
from deepseek_core.partition.optimal import OptimalSolver
from deepseek_core.partition.optimize import Method, Objective
from deepseek_core.partition.place import place
from deepseek_core.partition.roofline import roofline
from deepseek_core.partition.rules import refusal_reason
from deepseek_core.partition.solver import Offer, PreferenceSolver, Problem, Solution, Solver
from deepseek_core.partition.split import Part, split
from deepseek_core.partition.transfer import Link, TransferModel

__all__ = [
    "Link",
    "Method",
    "Objective",
    "Offer",
    "OptimalSolver",
    "Part",
    "PreferenceSolver",
    "Problem",
    "Solution",
    "Solver",
    "TransferModel",
    "claims",
    "derive_claims",
    "place",
    "refusal_reason",
    "roofline",
    "split",
]
