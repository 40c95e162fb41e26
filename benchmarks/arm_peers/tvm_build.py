"""Compile an ONNX file with TVM for an ARM64 core: arguments are the file, the core, where the library goes.

Runs in TVM's own environment. Its default schedules: tuning would need the core itself.
"""

from __future__ import annotations

import sys

import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx

FEATURES = {"cortex-a53": "neon", "cortex-a72": "neon", "cortex-a76": "neon,dotprod", "neoverse-n1": "neon,dotprod"}


def main() -> None:
    source, cpu, library = sys.argv[1:]
    attributes = [f"+{name}" for name in FEATURES[cpu].split(",")]
    target = tvm.target.Target({"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": cpu, "mattr": attributes})
    module = relax.get_pipeline("zero")(from_onnx(onnx.load(source), keep_params_in_input=False))
    with target:
        compiled = tvm.compile(module, target=target)
    compiled.export_library(library, cc="aarch64-linux-gnu-gcc")


main()
