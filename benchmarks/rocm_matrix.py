"""The ROCm backend's compile matrix: every kernel on every architecture, with what its machine code says."""

from __future__ import annotations

from collections.abc import Iterator

from deepseek_backend_rocm.building import build
from deepseek_backend_rocm.kernels.signatures import SIGNATURES, Variant
from deepseek_backend_rocm.selection.model import INT8_PRODUCTS, issue_of, matrix_count
from deepseek_backend_rocm.targets import GPUS
from harness import Figure, Options, console, main

_TILE = {"BM": 32, "BN": 32, "BK": 32}
_CONV = {**_TILE, "EVEN": True, "ADD": False, "REAL": False}
_WIDE = (("depth", 16), ("c", 16), ("x_row", 16), ("y_row", 16), ("n", 16))
_ROWS = {"BM": 4, "BLOCK": 256}
_DETAILS: dict[str, list[dict[str, object]]] = {"kernels": []}


def variants() -> Iterator[Variant]:
    """At least one of each kernel; of products one for each way to find their operands."""
    yield from _products()
    yield from _attentions()
    yield Variant.of("depthwise", {"BM": 32, "BC": 32}, divisible=(("c", 16),))
    for mean in (True, False):
        yield Variant.of("pool", {"BM": 32, "BC": 32, "MEAN": mean}, divisible=(("c", 16),))
    for kernel in ("binary", "binary_real"):
        for op in ("Add", "Sub", "Mul", "Div", "Min", "Max"):
            yield Variant.of(kernel, {"OP": op, "RANK": 3, "BLOCK": 1024})
    for op in ("Abs", "Clip", "Erf", "Exp", "Gelu", "Neg", "Sigmoid", "Sqrt"):
        yield Variant.of("unary_real", {"OP": op, "BLOCK": 1024})
    for op in ("ReduceL2", "ReduceMean", "ReduceSum"):
        yield Variant.of("reduce_real", {"OP": op, **_ROWS})
    for kernel in ("layer_norm", "layer_norm_real", "mean", "softmax", "softmax_real"):
        yield Variant.of(kernel, _ROWS)
    yield from _moves()


def _products() -> Iterator[Variant]:
    for mode in range(3):
        yield Variant.of("conv", {**_CONV, "MODE": mode}, types={"y": "i8"}, divisible=_WIDE, warps=2)
    yield Variant.of("conv", {**_CONV, "MODE": 0, "ADD": True}, types={"y": "i8"}, divisible=_WIDE)
    yield Variant.of("conv", {**_CONV, "MODE": 0, "REAL": True}, types={"y": "fp32"}, divisible=_WIDE)
    larger = {**_CONV, "MODE": 0, "BM": 64, "BN": 64}
    yield Variant.of("conv", larger, types={"y": "i8"}, divisible=_WIDE)
    for version in (1, 2):
        direct = {**_CONV, "DOWN": 1, "ACROSS": 2, "VERSION": version}
        yield Variant.of("direct", direct, types={"y": "i8"}, divisible=_WIDE, warps=2)
    for columns in (True, False):
        product = {**_TILE, "A_ROWS": True, "B_COLUMNS": columns, "REAL": False}
        yield Variant.of("matmul", product, types={"y": "i8"}, warps=2)
    for element in ("fp16", "fp32"):
        types = dict.fromkeys("aby", element)
        yield Variant.of("matmul_real", {**_TILE, "A_ROWS": True, "B_COLUMNS": True}, types=types)
    yield Variant.of("part", {**_TILE, "EVEN": True}, divisible=(("depth", 16), ("c", 16), ("x_row", 16)), warps=2)
    yield Variant.of("join", {"BLOCK": 1024, "ADD": True, "REAL": False}, types={"y": "i8"})
    for bits, element, exact in ((8, "fp32", True), (4, "fp32", True), (8, "fp16", False), (4, "fp16", False)):
        types = {"x": element, "w": "i8" if bits == 8 else "u8", "y": element}
        yield Variant.of("weight_only", {"BM": 16, "BN": 32, "BITS": bits, "EXACT": exact}, types=types)


def _attentions() -> Iterator[Variant]:
    """All keys in one block and block by block; with codes as scores, and with a scale and a mask."""
    sides = {"BD": 32, "BV": 32, "Q_ROWS": True, "K_ROWS": True, "V_ROWS": True}
    for queries, keys, whole in ((16, 32, False), (32, 32, True)):
        tile = {**sides, "BM": queries, "BN": keys, "WHOLE": whole, "REAL": False}
        for scale, mask in ((1, True), (3, False)):
            yield Variant.of("attention", {**tile, "SCALE": scale, "MASK": mask}, types={"y": "i8"}, stages=1)
    yield Variant.of("attention_real", {**sides, "BM": 16, "BN": 16, "SCALE": 1, "MASK": True}, stages=1)


def _moves() -> Iterator[Variant]:
    block = {"BLOCK": 1024}
    yield Variant.of("lookup", block)
    yield Variant.of("fill", block)
    yield Variant.of("quantize", block, types={"x": "fp32"})
    yield Variant.of("dequantize", block, types={"x": "i8", "y": "fp32"})
    yield Variant.of("cast", block, types={"x": "i64", "y": "fp32"})
    yield Variant.of("gather", block, types={"x": "i8", "indices": "i64", "y": "i8"})
    for rank in (1, 3, 6):
        yield Variant.of("copy", {"RANK": rank, **block}, types={"x": "i8", "y": "i8"})


def measure(options: Options) -> list[Figure]:
    """`--quick` takes one architecture."""
    names, wanted = tuple(GPUS)[: 1 if options.quick else None], list(variants())
    assert {variant.kernel for variant in wanted} == set(SIGNATURES)
    for name in names:
        found = [_row(variant, name) for variant in wanted if _runs_on(variant, name)]
        _DETAILS["kernels"] += found
        console().print(f"{name}: {len(found)} variants", highlight=False)
    rows = _DETAILS["kernels"]
    without = sum(not row["matrix"] for row in rows if row["kernel"] in INT8_PRODUCTS)
    spilling = sum(bool(row["spills"] or row["scratch"]) for row in rows)
    note = f"of {len(SIGNATURES)} kernels, on {len(names)} architectures"
    return [
        Figure("code objects compiled", len(rows), note=note),
        Figure("int8 products without a matrix instruction", without, "", "==", 0),
        Figure("code objects that spill vector registers", spilling, "", "==", 0),
    ]


def _runs_on(variant: Variant, name: str) -> bool:
    """Whether the architecture has the instruction that a variant names."""
    return variant.kernel != "direct" or {1: "gfx11", 2: "gfx12"}[variant.constant("VERSION")] == name[:5]


def _row(variant: Variant, name: str) -> dict[str, object]:
    built, gpu = build(variant, name), GPUS[name]
    listing = built.listing
    return {
        "architecture": name,
        "kernel": variant.kernel,
        "variant": variant.name,
        "bytes": len(built.code),
        "vector": listing.vector,
        "scalar": listing.scalar,
        "spills": listing.spills,
        "scratch": listing.scratch,
        "shared": built.shared,
        "occupancy": listing.occupancy,
        "matrix": matrix_count(listing, gpu),
        "dense": issue_of(listing.inner or listing.whole, gpu).efficiency,
    }


if __name__ == "__main__":
    assert __doc__ is not None
    main(__doc__, measure, ("deepseek-backend-rocm", "triton"), details=lambda: _DETAILS)
