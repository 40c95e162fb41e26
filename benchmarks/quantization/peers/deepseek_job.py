"""Ours, from float ONNX file to quantized ONNX file, through the command line that users have.

Usage: deepseek_job.py [OPTION …] MODEL SAMPLES OUTPUT
"""

from __future__ import annotations

import sys
from pathlib import Path

from deepseek_core.cli import main
from deepseek_core.ir.serialize import save
from deepseek_core.package import Package

SHORT_OF_BUDGET = 3
"""Exit code of a result that misses the accuracy budget; the result is there all the same."""


def run() -> int:
    *options, model, samples, output = sys.argv[1:]
    package = Path("quantized.ds")
    code = main(["quantize", model, "--calib", samples, "-o", str(package), *options])
    if code not in (0, SHORT_OF_BUDGET):
        return code
    save(Package.open(package).model, output)
    return 0


if __name__ == "__main__":
    sys.exit(run())
