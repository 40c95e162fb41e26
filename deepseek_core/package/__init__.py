"""The `.ds` package: one file with the model, its artifacts and their provenance."""

from deepseek_core.package.manifest import Manifest
from deepseek_core.package.package import Package
from deepseek_core.package.signing import generate_key
from deepseek_core.package.verdict import Action, Verdict, verdict, verdicts

__all__ = ["Action", "Manifest", "Package", "Verdict", "generate_key", "verdict", "verdicts"]
