"""Profile: measure units, parts, launches and links on the devices that are here, for placements to rest on."""

from deepseek_core.profile.profiler import Findings, LinkFinding, PartFinding, TargetFinding, run_profile

__all__ = ["Findings", "LinkFinding", "PartFinding", "TargetFinding", "run_profile"]
