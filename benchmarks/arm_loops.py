"""The peer that needs no library: a network's convolutions as plain float32 loops in C, compiled with -O2.

Only convolutions and matrix products are in it, with bias and ReLU; pooling, additions and the rest would come on top.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from deepseek_core import QuantizedModel, Role, Unit

__all__ = ["build_loops"]

_KERNEL = r"""
#include <stdlib.h>
#include <stdio.h>

static float *x, *w, *y;

static void conv(int c, int h, int wd, int oc, int oh, int ow, int kh, int kw, int sh, int sw, int ph, int pw, int g) {
    int cg = c / g, og = oc / g;
    for (int o = 0; o < oc; o++)
        for (int i = 0; i < oh; i++)
            for (int j = 0; j < ow; j++) {
                float sum = w[o];
                for (int k = 0; k < cg; k++)
                    for (int a = 0; a < kh; a++)
                        for (int b = 0; b < kw; b++) {
                            int r = i * sh + a - ph, s = j * sw + b - pw;
                            if (r < 0 || r >= h || s < 0 || s >= wd) continue;
                            sum += x[(((o / og) * cg + k) * h + r) * wd + s] * w[((o * cg + k) * kh + a) * kw + b];
                        }
                y[(o * oh + i) * ow + j] = sum > 0 ? sum : 0;
            }
}

int main(int count, char **words) {
    int runs = count > 2 ? atoi(words[2]) + 1 : 1;
    x = calloc(SIZE, 4), w = calloc(SIZE, 4), y = calloc(SIZE, 4);
    for (int run = 0; run < runs; run++) {
LAYERS
    }
    printf("%g\n", (double)y[0]);
    return 0;
}
"""


def build_loops(model: QuantizedModel, compiler: tuple[str, ...], folder: Path) -> Path:
    """A static ARM64 program that runs the layers once, and once more for each run of `--bench`."""
    rows = [_layer(unit) for unit in model.units() if unit.op in ("Conv", "Gemm", "MatMul")]
    largest = max(max(c * h * w, oc * oh * ow, oc * c // g * kh * kw) for c, h, w, oc, oh, ow, kh, kw, *_, g in rows)
    calls = "\n".join(f"        conv({', '.join(map(str, row))});" for row in rows)
    text = _KERNEL.replace("SIZE", str(largest + 16)).replace("LAYERS", calls)
    (folder / "loops.c").write_text(text)
    program = folder / "loops"
    subprocess.run([*compiler, "-O2", "-static", str(folder / "loops.c"), "-o", str(program)], check=True)
    return program


def _layer(unit: Unit) -> tuple[int, ...]:
    """Channels, sizes, kernel, strides, pads and groups of one image; a matrix product is a row of pixels."""
    (x,), (w,), y = unit.operands(Role.DATA), unit.operands(Role.WEIGHT), unit.outputs[0]
    shape, weights, result = ([int(n or 1) for n in o.shape or ()] for o in (x, w, y))
    if unit.op != "Conv":
        rows = 1
        for size in shape[:-1]:
            rows *= size
        return (shape[-1], 1, rows, result[-1], 1, rows, 1, 1, 1, 1, 0, 0, 1)
    attributes = unit.node.attributes
    strides = list(attributes.get_ints("strides", ())) or [1, 1]
    pads = list(attributes.get_ints("pads", ())) or [0, 0, 0, 0]
    groups = attributes.get_int("group", 1)
    return (*shape[1:], weights[0], *result[2:], *weights[2:], *strides, *pads[:2], int(groups))
