"""IREE's kernels for the same products: a layer as linalg, compiled for the same GPU, its assembly read alike."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from deepseek_backend_rocm.assembly import Listing, read_assembly
from quantization.environments import python

__all__ = ["VERSION", "peer"]

VERSION = "3.13.0"

_LAYER = """\
#row = affine_map<(i, j, k) -> (i, k)>
#column = affine_map<(i, j, k) -> (j, k)>
#sum = affine_map<(i, j, k) -> (i, j)>
#all = affine_map<(i, j) -> (i, j)>
#channel = affine_map<(i, j) -> (j)>
func.func @layer(%x: tensor<{m}x{k}xi8>, %w: tensor<{n}x{k}xi8>, %bias: tensor<{n}xi32>, %factor: tensor<{n}xf32>)
    -> tensor<{m}x{n}xi8> {{
  %zero = arith.constant 0 : i32
  %low = arith.constant -128.0 : f32
  %high = arith.constant 127.0 : f32
  %empty = tensor.empty() : tensor<{m}x{n}xi32>
  %start = linalg.fill ins(%zero : i32) outs(%empty : tensor<{m}x{n}xi32>) -> tensor<{m}x{n}xi32>
  %acc = linalg.generic {{indexing_maps = [#row, #column, #sum],
      iterator_types = ["parallel", "parallel", "reduction"]}}
      ins(%x, %w : tensor<{m}x{k}xi8>, tensor<{n}x{k}xi8>) outs(%start : tensor<{m}x{n}xi32>) {{
  ^bb0(%a: i8, %b: i8, %o: i32):
    %p = arith.extsi %a : i8 to i32
    %q = arith.extsi %b : i8 to i32
    %r = arith.muli %p, %q : i32
    %s = arith.addi %o, %r : i32
    linalg.yield %s : i32
  }} -> tensor<{m}x{n}xi32>
  %codes = tensor.empty() : tensor<{m}x{n}xi8>
  %y = linalg.generic {{indexing_maps = [#all, #channel, #channel, #all], iterator_types = ["parallel", "parallel"]}}
      ins(%acc, %bias, %factor : tensor<{m}x{n}xi32>, tensor<{n}xi32>, tensor<{n}xf32>)
      outs(%codes : tensor<{m}x{n}xi8>) {{
  ^bb0(%a: i32, %b: i32, %s: f32, %o: i8):
    %t = arith.addi %a, %b : i32
    %u = arith.sitofp %t : i32 to f32
    %v = arith.mulf %u, %s : f32
    %r = math.roundeven %v : f32
    %c = arith.maximumf %r, %low : f32
    %d = arith.minimumf %c, %high : f32
    %i = arith.fptosi %d : f32 to i8
    linalg.yield %i : i8
  }} -> tensor<{m}x{n}xi8>
  return %y : tensor<{m}x{n}xi8>
}}
"""
_LIMIT = 120
"""Seconds for one layer."""


def peer(m: int, n: int, k: int, gpu: str) -> Listing | None:
    """What IREE's kernel for a product with requantization is made of; None where it fails or makes several."""
    compiler = (str(python("iree")), "-m", "iree.compiler.tools.scripts.iree_compile")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "layer.mlir").write_text(_LAYER.format(m=m, n=n, k=k))
        flags = ["--iree-hal-target-device=hip", f"--iree-rocm-target={gpu}", "-o", "layer.vmfb"]
        command = [*compiler, "layer.mlir", *flags, "--iree-hal-dump-executable-files-to=dump"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=_LIMIT)
        except subprocess.TimeoutExpired:
            return None
        texts = sorted((folder / "dump").glob("*.rocmasm"))
        return read_assembly(texts[0].read_text()) if done.returncode == 0 and len(texts) == 1 else None
