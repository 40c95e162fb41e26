"""The ROCm backend's Triton kernels on an NVIDIA GPU: logic against PyTorch bit for bit, speed beside cuBLAS.

A check of kernel logic on silicon, and nothing more: what runs is compiled for the GPU at hand, not for AMD's. It needs
PyTorch with CUDA and its Triton; with `--network FOLDER` (written by `rocm.py --network FOLDER`) also the core's
dependencies, and then it runs a whole network's launches through the CUDA driver.

    python benchmarks/rocm_cuda.py --json results.json [--shapes N] [--network FOLDER]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(HERE), str(HERE / "backends/rocm/src")]

import torch  # noqa: E402
import triton  # noqa: E402

from deepseek_backend_rocm.kernels import matrix, pointwise, real, rows, weights, window  # noqa: E402
from deepseek_backend_rocm.kernels.signatures import SIGNATURES  # noqa: E402

DEVICE = "cuda"
OPTIONS = {"enable_fp_fusion": False}
"""As the backend compiles: products and sums are rounded one by one."""
Array = Any
Numbers = dict[str, Any]


def launch(
    function: Any, grid: tuple[int, ...], pointers: dict[str, Array], values: dict[str, Any], **fixed: Any
) -> None:
    """Run a kernel with arguments by name; numbers that a check does not care about are 0."""
    signature = SIGNATURES[function.__name__ if hasattr(function, "__name__") else function.fn.__name__]
    arguments = [pointers[name] for name in signature.pointers]
    arguments += [int(values.get(name, 0)) for name in signature.integers]
    arguments += [float(values.get(name, 0.0)) for name in signature.reals]
    function[grid](*arguments, **fixed, **OPTIONS)


def codes(*shape: int) -> Array:
    return torch.randint(-128, 128, shape, dtype=torch.int8, device=DEVICE)


def requantized(sums: Array, factor: Array, zero: int, low: int, high: int) -> Array:
    """saturate(round_half_even(float32(sum) · factor) + zero)."""
    return (torch.round(sums.to(torch.float32) * factor) + zero).clamp(low, high).to(torch.int8)


def padded(matrix_: Array, multiple: int) -> Array:
    return torch.nn.functional.pad(matrix_, (0, -matrix_.shape[-1] % multiple)).contiguous()


def check_point(rng: random.Random) -> bool:
    """A product with weights, with the addition behind it half of the time."""
    m, n, k = rng.randint(1, 300), rng.randint(1, 200), rng.randint(1, 400)
    bm, bn, bk = rng.choice([(32, 32, 32), (64, 64, 64), (128, 64, 64)])
    x, w, add = codes(m, k), codes(n, k), rng.random() < 0.5
    bias = torch.randint(-5000, 5000, (n,), dtype=torch.int32, device=DEVICE)
    factor = torch.rand(n, device=DEVICE) * 2e-4
    zero, low, high = rng.randint(-20, 20), rng.choice([-128, -20]), rng.choice([127, 90])
    other, y = codes(m, n), codes(m, n)
    held = padded(w, 128)
    numbers: Numbers = {"own_scale": 0.02, "addend_scale": 0.03, "sum_scale": 0.04, "addend_zero": 3, "sum_zero": -5}
    values: Numbers = {"rows": m, "n": n, "c": k, "depth": held.shape[1], "x_row": k, "y_row": n, "taps": 1, "kw": 1}
    values |= {"zero": zero, "low": low, "high": high, "sum_low": -128, "sum_high": 127, **numbers}
    pointers = {
        "x": x,
        "w": held,
        "bias": bias,
        "factor": factor,
        "classes": bias,
        "table": bias,
        "addend": other,
        "y": y,
    }
    fixed = {"BM": bm, "BN": bn, "BK": bk, "MODE": 0, "EVEN": k % bk == 0, "ADD": add, "REAL": False}
    launch(matrix.conv, (triton.cdiv(m, bm), triton.cdiv(n, bn), 1), pointers, values, **fixed)
    sums = (x.double() @ w.double().T).to(torch.int64) + bias
    wanted = requantized(sums, factor, zero, low, high)
    if add:
        total = (wanted.float() - zero) * torch.tensor(0.02, device=DEVICE)
        total = total + (other.float() - 3) * torch.tensor(0.03, device=DEVICE)
        wanted = (torch.round(total / torch.tensor(0.04, device=DEVICE)) - 5).clamp(-128, 127).to(torch.int8)
    return bool(torch.equal(y, wanted))


def check_window(rng: random.Random, *, depthwise: bool) -> bool:
    """A convolution of any window; the input's zero point is 0, which leaves borders without classes."""
    image, c, n = (rng.randint(5, 20), rng.randint(5, 20)), rng.choice([3, 16, 24, 40]), rng.randint(1, 70)
    n = c if depthwise else n
    kernel = (rng.randint(1, 4), rng.randint(1, 4))
    stride, dilation, pad = rng.randint(1, 2), rng.randint(1, 2), rng.randint(0, 2)
    sizes = [(s + 2 * pad - dilation * (k - 1) - 1) // stride + 1 for s, k in zip(image, kernel, strict=True)]
    if min(sizes) < 1:
        return True
    batch = rng.randint(1, 3)
    x, w = codes(batch, *image, c), codes(n, 1 if depthwise else c, *kernel)
    bias = torch.randint(-5000, 5000, (n,), dtype=torch.int32, device=DEVICE)
    factor = torch.rand(n, device=DEVICE) * 2e-4
    rows_, y = batch * sizes[0] * sizes[1], codes(batch, *sizes, n)
    values: Numbers = {"rows": rows_, "n": n, "c": c, "h": image[0], "wide": image[1], "oh": sizes[0], "ow": sizes[1]}
    values |= {"kh": kernel[0], "kw": kernel[1], "taps": kernel[0] * kernel[1], "sh": stride, "sw": stride}
    values |= {"dh": dilation, "dw": dilation, "top": pad, "left": pad, "x_row": c, "y_row": n, "columns": 1}
    values |= {"low": -128, "high": 127, "zero": 3}
    pointers = {"x": x, "bias": bias, "factor": factor, "addend": x, "y": y, "table": bias}
    if depthwise:
        pointers["w"] = w.reshape(n, -1).T.contiguous()
        grid = (triton.cdiv(rows_, 16), triton.cdiv(n, 32))
        launch(window.depthwise, grid, pointers, values, BM=16, BC=32)
    else:
        _launch_window(w, pointers, values, by_table=c < 16)
    groups = c if depthwise else 1
    sums = torch.nn.functional.conv2d(
        x.permute(0, 3, 1, 2).double(), w.double(), None, stride, pad, dilation, groups
    ).permute(0, 2, 3, 1)
    return bool(torch.equal(y, requantized(sums.to(torch.int64) + bias, factor, 3, -128, 127)))


def _launch_window(w: Array, pointers: dict[str, Array], values: dict[str, Any], *, by_table: bool) -> None:
    n, c, kh, kw = w.shape
    taps = w.permute(0, 2, 3, 1)
    pointers["classes"] = torch.zeros(values["oh"] + values["ow"], dtype=torch.int32, device=DEVICE)
    if by_table:
        pointers["w"] = padded(taps.reshape(n, -1), 32)
        down, across, channel = (
            axis.reshape(-1) for axis in torch.meshgrid(*map(torch.arange, (kh, kw, c)), indexing="ij")
        )
        down, across = down * values["dh"], across * values["dw"]
        table = torch.stack([down, across, (down * values["wide"] + across) * c + channel])
        pointers["table"] = padded(table, 32).to(torch.int32).to(DEVICE)
        values["depth"] = pointers["w"].shape[1]
    else:
        pointers["w"] = padded(taps, 32).reshape(n, -1)
        values["depth"] = pointers["w"].shape[1]
    fixed = {"BM": 32, "BN": 32, "BK": 32, "MODE": 2 if by_table else 1, "EVEN": False, "ADD": False, "REAL": False}
    grid = (triton.cdiv(values["rows"], 32), triton.cdiv(n, 32), 1)
    launch(matrix.conv, grid, pointers, values, **fixed)


def check_matmul(rng: random.Random) -> bool:
    """A batch of products of two matrices with zero points, B by rows or by columns."""
    batch, m, n, k = rng.randint(1, 6), rng.randint(1, 90), rng.randint(1, 90), rng.randint(1, 150)
    a, b, y = codes(batch, m, k), codes(batch, k, n), codes(batch, m, n)
    by_columns = rng.random() < 0.5
    held = b.transpose(1, 2).contiguous() if by_columns else b
    a_zero, b_zero, factor = rng.randint(-30, 30), rng.randint(-30, 30), 1e-4
    values: Numbers = {"m": m, "n": n, "k": k, "inner": batch, "a_inner": m * k, "b_inner": k * n, "y_inner": m * n}
    values |= {"a_row": k, "a_k": 1, "b_k": 1 if by_columns else n, "b_column": k if by_columns else 1, "y_row": n}
    values |= {"a_zero": a_zero, "b_zero": b_zero, "zero": 2, "low": -128, "high": 127, "factor": factor}
    fixed = {"BM": 32, "BN": 32, "BK": 32, "A_ROWS": True, "B_COLUMNS": by_columns, "REAL": False}
    grid = (triton.cdiv(m, 32), triton.cdiv(n, 32), batch)
    launch(matrix.matmul, grid, {"a": a, "b": held, "y": y}, values, **fixed)
    sums = torch.bmm(a.double() - a_zero, b.double() - b_zero).to(torch.int64)
    return bool(torch.equal(y, requantized(sums, torch.tensor(factor, device=DEVICE), 2, -128, 127)))


def check_binary(rng: random.Random) -> bool:
    """Addition and division of codes: the same float32 operations in the same order."""
    count, op = rng.randint(1, 5000), rng.choice(["Add", "Sub", "Mul", "Div"])
    a, b, y = codes(count), codes(count), codes(count)
    values: Numbers = {
        "count": count,
        "a0": 1,
        "b0": 1,
        "d1": 1,
        "d2": 1,
        "d3": 1,
        "d4": 1,
        "d5": 1,
        "low": -128,
        "high": 127,
    }
    values |= {"a_zero": 3, "b_zero": -129, "zero": 1, "a_scale": 0.03, "b_scale": 0.02, "y_scale": 0.7}
    launch(pointwise.binary, (triton.cdiv(count, 256),), {"a": a, "b": b, "y": y}, values, OP=op, RANK=1, BLOCK=256)
    left, right = ((t.float() - z) * torch.tensor(s, device=DEVICE) for t, z, s in ((a, 3, 0.03), (b, -129, 0.02)))
    functions: Numbers = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div}
    result = functions[op](left, right)
    ratio = torch.round(result / torch.tensor(0.7, device=DEVICE))
    return bool(torch.equal(y, (ratio + 1).clamp(-128, 127).to(torch.int8)))


def check_quantize(rng: random.Random) -> bool:
    """Real numbers to codes, infinities among them, NaN to the zero point."""
    count, scale = rng.randint(1, 5000), torch.rand(1, device=DEVICE) + 0.01
    x, y = torch.randn(count, device=DEVICE) * 30, codes(count)
    x[rng.randrange(count)] = rng.choice([float("inf"), float("-inf"), float("nan")])
    zero = torch.tensor([rng.randint(-50, 50)], dtype=torch.int32, device=DEVICE)
    values: Numbers = {"count": count, "channels": 1, "inner": count}
    pointers = {"x": x, "scale": scale, "zero": zero, "y": y}
    launch(pointwise.quantize, (triton.cdiv(count, 256),), pointers, values, BLOCK=256)
    wanted = (torch.round(x / scale) + zero).clamp(-128, 127)
    return bool(torch.equal(y, torch.where(wanted.isnan(), zero.float(), wanted).to(torch.int8)))


def check_rows(rng: random.Random) -> bool:
    """Softmax and layer normalization of codes to within one code; of real numbers to 1e-5."""
    m, n = rng.randint(1, 40), rng.randint(1, 600)
    x, y = codes(m, n), codes(m, n)
    table = torch.exp(-torch.arange(256, device=DEVICE) * 0.05)
    values: Numbers = {"rows": m, "count": n, "zero": -128, "y_scale": 1 / 256}
    launch(rows.softmax, (triton.cdiv(m, 4),), {"x": x, "table": table, "y": y}, values, BM=4, BLOCK=256)
    wanted = torch.round(torch.softmax(x.double() * 0.05, 1) * 256) - 128
    close = bool(((y.double() - wanted.clamp(-128, 127)).abs() <= 1).all())
    reals, gain, shift = (torch.randn(*shape, device=DEVICE) for shape in ((m, n), (n,), (n,)))
    result = torch.empty_like(reals)
    pointers = {"x": reals, "gain": gain, "shift": shift, "y": result}
    values = {"rows": m, "count": n, "epsilon": 1e-5}
    launch(real.layer_norm_real, (triton.cdiv(m, 4),), pointers, values, BM=4, BLOCK=256)
    wanted = torch.nn.functional.layer_norm(reals.double(), (n,), gain.double(), shift.double(), 1e-5)
    return close and torch.allclose(result.double(), wanted, rtol=1e-4, atol=1e-5)


def check_weight_only(rng: random.Random) -> bool:
    """Real numbers times codes of 8 or 4 bits, against float64."""
    m, n, k, bits = rng.randint(1, 60), rng.randint(1, 60), 32 * rng.randint(1, 8), rng.choice([8, 4])
    x = torch.randn(m, k, device=DEVICE)
    blocks = k // 32
    low = -128 if bits == 8 else 0
    w = torch.randint(low, 128 if bits == 8 else 16, (n, k), dtype=torch.int32, device=DEVICE)
    scale = torch.rand(blocks, n, device=DEVICE) * 0.1
    zero = torch.randint(-5, 9, (blocks, n), dtype=torch.int8, device=DEVICE)
    bias, y = torch.randn(n, device=DEVICE), torch.empty(m, n, device=DEVICE)
    halves = w.reshape(n, blocks, 2, 16)
    packed = w.to(torch.int8) if bits == 8 else (halves[:, :, 0] | halves[:, :, 1] << 4).to(torch.uint8).reshape(n, -1)
    values: Numbers = {"m": m, "n": n, "k": k, "pitch": k, "block": 32, "low": -float("inf"), "high": float("inf")}
    pointers = {"x": x, "w": packed.contiguous(), "scale": scale, "zero": zero, "bias": bias, "y": y}
    grid = (triton.cdiv(m, 16), triton.cdiv(n, 32))
    launch(weights.weight_only, grid, pointers, values, BM=16, BN=32, BITS=bits, EXACT=True)
    real_w = (w.T.double() - zero.double().repeat_interleave(32, 0)) * scale.double().repeat_interleave(32, 0)
    return torch.allclose(y.double(), x.double() @ real_w + bias, rtol=1e-4, atol=1e-3)


CHECKS: dict[str, Callable[[random.Random], bool]] = {
    "conv (matrix)": check_point,
    "conv (window)": lambda rng: check_window(rng, depthwise=False),
    "depthwise": lambda rng: check_window(rng, depthwise=True),
    "matmul": check_matmul,
    "binary": check_binary,
    "quantize": check_quantize,
    "softmax, layer_norm_real": check_rows,
    "weight_only": check_weight_only,
}

SHAPES = (
    (4096, 4096, 4096),
    (8192, 8192, 8192),
    (2048, 1024, 1024),
    (4096, 4096, 1024),
    (4096, 1024, 4096),
    (50176, 96, 32),
    (12544, 144, 32),
    (25088, 240, 64),
    (6272, 672, 128),
    (8192, 1152, 192),
)
"""Rows, columns, depth: square, layers of transformers, and 1 × 1 convolutions of EfficientNet at batch 4 to 16."""
CONFIGS = (
    (64, 64, 64, 4, 4),
    (128, 64, 64, 4, 4),
    (128, 128, 64, 4, 4),
    (128, 128, 128, 8, 3),
    (128, 256, 128, 8, 3),
    (256, 128, 128, 8, 3),
    (128, 32, 32, 4, 4),
)
"""Tiles, warps, stages."""


def timings() -> Iterator[dict[str, Any]]:
    """Seconds of each shape beside cuBLAS on the same one: int8 with int32 out, and float16."""
    for m, n, k in SHAPES:
        x, w = codes(m, k), codes(n, k)
        seconds, tile = _best(x, w)
        half_x, half_w = x.half(), w.half()
        row = {"shape": [m, n, k], "tile": tile, "seconds": seconds, "tops": 2 * m * n * k / seconds / 1e12}
        row["torch._int_mm"] = _time(partial(torch._int_mm, x, w.T))
        row["cuBLAS float16"] = _time(partial(torch.matmul, half_x, half_w.T))
        yield row


def _best(x: Array, w: Array) -> tuple[float, str]:
    """Seconds of the product with its requantization to int8, and the fastest tile."""
    (m, k), n = x.shape, w.shape[0]
    y = torch.empty(m, n, dtype=torch.int8, device=DEVICE)
    bias, factor = torch.zeros(n, dtype=torch.int32, device=DEVICE), torch.full((n,), 1e-5, device=DEVICE)
    values: Numbers = {"rows": m, "n": n, "c": k, "depth": k, "x_row": k, "y_row": n, "taps": 1, "kw": 1}
    values |= {"low": -128, "high": 127}
    pointers: Numbers = {"x": x, "w": w, "bias": bias, "factor": factor, "classes": bias, "table": bias}
    pointers |= {"addend": x, "y": y}
    found = {}
    for bm, bn, bk, warps, stages in CONFIGS:
        if k % bk or bn >= 2 * max(n, 32):
            continue
        fixed = {"BM": bm, "BN": bn, "BK": bk, "MODE": 0, "EVEN": True, "ADD": False, "REAL": False}
        grid = (triton.cdiv(m, bm), triton.cdiv(n, bn), 1)
        options = {"num_warps": warps, "num_stages": stages}
        try:
            seconds = _time(partial(launch, matrix.conv, grid, pointers, values, **fixed, **options))
        except Exception as error:  # a tile that this GPU cannot hold
            print(f"  {bm}x{bn}x{bk}: {type(error).__name__}")
            continue
        found[f"{bm}x{bn}x{bk} warps {warps} stages {stages}"] = seconds
    tile = min(found, key=lambda name: found[name])
    return found[tile], tile


def _time(run: Callable[[], object]) -> float:
    """Median seconds of many runs, by the GPU's clock."""
    return float(triton.testing.do_bench(run, warmup=10, rep=60, return_mode="median")) / 1e3


def network(folder: Path) -> dict[str, Any]:
    """A whole network's launches through the CUDA driver, against outputs that the reference backend gave."""
    import numpy as np

    from deepseek_backend_rocm.container import decode
    from deepseek_backend_rocm.devices.cuda import open_cuda
    from deepseek_backend_rocm.runtime import RocmExecutable

    executable = RocmExecutable(decode((folder / "image.bin").read_bytes()), open_cuda())
    results = []
    for path in sorted(folder.glob("*.npz")):
        arrays = dict(np.load(path))
        feeds = {name[3:]: array for name, array in arrays.items() if name.startswith("in:")}
        wanted = {name[4:]: array for name, array in arrays.items() if name.startswith("out:")}
        got = executable.run(feeds)
        results.append({name: bool(np.array_equal(got[name], array)) for name, array in wanted.items()})
    return {"device": executable.device, "identical": results}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--shapes", type=int, default=300)
    parser.add_argument("--network", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    found: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    found |= {"triton": triton.__version__, "tier": "device, CUDA: kernel logic only", "checks": {}}
    for name, check in CHECKS.items():
        right = sum(check(random.Random(seed)) for seed in range(arguments.shapes))
        found["checks"][name] = {"shapes": arguments.shapes, "right": right}
        print(f"{name}: {right} of {arguments.shapes}", flush=True)
    found["timings"] = []
    for row in timings():
        found["timings"].append(row)
        ratios = {name: row[name] / row["seconds"] for name in ("torch._int_mm", "cuBLAS float16")}
        row["ratios"] = ratios
        print(row["shape"], row["tile"], f"{row['tops']:.0f} TOPS", ratios, flush=True)
    if arguments.network:
        found["network"] = network(arguments.network)
        print(found["network"])
    arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
