"""Partition: which target runs which unit, and the model cut accordingly."""

from deepseek_core.partition.claims import claim_each, claims, derive_claims
from deepseek_core.partition.gates import Gates, coverage, unmet
from deepseek_core.partition.optimal import OptimalSolver
from deepseek_core.partition.optimize import Method, Objective
from deepseek_core.partition.place import place, propose, settle
from deepseek_core.partition.profile import Profile
from deepseek_core.partition.roofline import roofline
from deepseek_core.partition.rules import Objection, objection, refusal_reason
from deepseek_core.partition.solver import Offer, PreferenceSolver, Problem, Solution, Solver
from deepseek_core.partition.split import Part, split
from deepseek_core.partition.transfer import Link, TransferModel

__all__ = [
    "Gates",
    "Link",
    "Method",
    "Objection",
    "Objective",
    "Offer",
    "OptimalSolver",
    "Part",
    "PreferenceSolver",
    "Problem",
    "Profile",
    "Solution",
    "Solver",
    "TransferModel",
    "claim_each",
    "claims",
    "coverage",
    "derive_claims",
    "objection",
    "place",
    "propose",
    "refusal_reason",
    "roofline",
    "settle",
    "split",
    "unmet",
]
