"""Plan: a placement explained, as data and as a page with pictures."""

from deepseek_core.plan.explain import explain
from deepseek_core.plan.page import page, write_page, write_picture
from deepseek_core.plan.report import (
    Alternative,
    Option,
    PartPlan,
    Plan,
    RefusalGroup,
    TargetPlan,
    TransferPlan,
    UnitPlan,
)

__all__ = [
    "Alternative",
    "Option",
    "PartPlan",
    "Plan",
    "RefusalGroup",
    "TargetPlan",
    "TransferPlan",
    "UnitPlan",
    "explain",
    "page",
    "write_page",
    "write_picture",
]
