"""What of QNN is on this machine: metadata only, nothing is imported."""

from __future__ import annotations

from deepseek_backend_npu.hexagon.variants import architecture, device_name
from deepseek_backend_npu.versions import QNN_FIX, qnn_problem, qnn_version
from deepseek_core import Availability, Missing, Target, Tier

__all__ = ["probe_hexagon"]


def probe_hexagon(target: Target) -> Availability:
    """QNN's plugin with its simulation, for a version."""
    architecture(target)
    version, problem = qnn_version(), qnn_problem()
    here = problem is None
    return Availability(
        can_compile=here,
        can_run=here,
        missing=() if problem is None else (Missing(problem, QNN_FIX),),
        detail=f"QNN's HTP simulation, onnxruntime-qnn {version or 'not installed'}",
        toolchain={"onnxruntime-qnn": version} if here and version else {},
        tier=Tier.SIMULATED if here else None,
        devices=(device_name(target.device),) if here else (),
    )
