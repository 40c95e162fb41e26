"""Claims: what the capability table accepts, less what QNN's placement refuses for other reasons."""

from __future__ import annotations

from deepseek_backend_npu.claims import Refuse, accepted
from deepseek_backend_npu.hexagon.capabilities import capabilities
from deepseek_backend_npu.hexagon.limits import problem
from deepseek_core import Claim, QuantizedModel, Target

__all__ = ["claim_hexagon"]


def claim_hexagon(model: QuantizedModel, target: Target, refuse: Refuse) -> list[Claim]:
    """A claim on each unit that QNN places on the HTP, a reason for each that it does not."""
    return accepted(model, target, refuse, capabilities(target), problem)
