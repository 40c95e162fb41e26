"""Placement as optimisation: the problem, what a plan costs, and the solvers. No model, no backend."""

from deepseek_core.partition.optimize.evaluate import Plan, broken_rule, evaluate
from deepseek_core.partition.optimize.problem import Group, Objective, PartitionProblem, Tensors
from deepseek_core.partition.optimize.solve import Method, Outcome, optimise

__all__ = [
    "Group",
    "Method",
    "Objective",
    "Outcome",
    "PartitionProblem",
    "Plan",
    "Tensors",
    "broken_rule",
    "evaluate",
    "optimise",
]
