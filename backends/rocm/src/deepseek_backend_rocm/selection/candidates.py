"""The variants that may run a step, and the grid of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import gcd

from deepseek_backend_rocm.kernels.signatures import Variant
from deepseek_backend_rocm.plan.steps import Step
from deepseek_backend_rocm.targets import CHECK, Gpu

__all__ = ["Tile", "candidates", "grid_of", "tiles_of"]


@dataclass(frozen=True, slots=True)
class Tile:
    """A block of a product that one workgroup makes, in steps along the summed axis.

    Attributes:
        rows, columns, depth: of the block and a step.
        warps: wavefronts that share it.
        instruction: rows of the matrix instruction, 0 for the compiler's choice.
        stages: of the software pipeline.
    """

    rows: int
    columns: int
    depth: int
    warps: int
    instruction: int = 0
    stages: int = 2


_CDNA = (
    Tile(32, 32, 32, 1),
    Tile(32, 32, 64, 1),
    Tile(16, 64, 64, 1, 16),
    Tile(64, 32, 32, 2),
    Tile(32, 64, 64, 2),
    Tile(64, 64, 32, 4),
    Tile(64, 64, 64, 4),
    Tile(64, 64, 128, 4),
    Tile(128, 32, 32, 4),
    Tile(128, 32, 64, 4),
    Tile(128, 64, 32, 4),
    Tile(128, 64, 64, 4),
    Tile(64, 128, 64, 4),
    Tile(128, 128, 32, 4),
    Tile(128, 128, 64, 4),
    Tile(128, 128, 64, 4, 16),
    Tile(256, 128, 64, 8),
)
_RDNA = (
    Tile(16, 16, 32, 1),
    Tile(32, 32, 32, 1),
    Tile(32, 32, 64, 1),
    Tile(64, 32, 32, 2),
    Tile(32, 64, 64, 2),
    Tile(64, 64, 32, 4),
    Tile(64, 64, 64, 4),
    Tile(128, 32, 32, 4),
    Tile(128, 64, 32, 4),
    Tile(128, 64, 64, 4),
    Tile(64, 128, 64, 4),
    Tile(128, 128, 32, 8),
    Tile(128, 128, 64, 8),
)
_DIRECT = (
    # Rows and columns of wavefronts, then the tile: each wavefront has its own fragments, so wide steps cost no LDS.
    (1, 1, Tile(16, 16, 64, 1)),
    (1, 1, Tile(16, 16, 128, 1)),
    (1, 1, Tile(32, 16, 64, 1)),
    (1, 1, Tile(32, 32, 32, 1)),
    (1, 1, Tile(32, 32, 64, 1)),
    (2, 1, Tile(64, 32, 64, 2)),
    (2, 2, Tile(64, 64, 64, 4)),
    (2, 2, Tile(128, 64, 32, 4)),
)
_DOTS = (
    Tile(16, 16, 32, 1),
    Tile(32, 32, 32, 1),
    Tile(32, 32, 32, 4),
    Tile(32, 64, 32, 4),
    Tile(64, 32, 32, 4),
    Tile(64, 64, 32, 4),
    Tile(64, 64, 32, 8),
)
_HEADS = {
    # Queries, keys, wavefronts: what registers hold next to a head's elements.
    "cdna": ((16, 32, 1), (32, 32, 2), (32, 64, 2), (64, 64, 4), (128, 64, 4), (32, 128, 4)),
    "rdna": ((16, 32, 1), (16, 32, 2), (32, 32, 4), (64, 32, 4), (32, 32, 8), (16, 32, 4), (16, 16, 4), (16, 16, 8)),
    "lanes": ((16, 16, 2), (16, 16, 4), (16, 32, 4), (32, 32, 8), (16, 16, 8)),
}
_CHECKED = (Tile(32, 32, 32, 1), Tile(64, 64, 64, 4, stages=3), Tile(128, 128, 64, 8, stages=3))
_ROWS = ("layer_norm", "layer_norm_real", "mean", "reduce_real", "softmax", "softmax_real")
_DEPTH, _REAL_TILE = 32, 64 * 64
"""Step, and most elements, of a tile of real numbers."""
_SMALL = 4096
"""Elements up to which a workgroup is one wavefront: there is too little for more."""


def tiles_of(gpu: Gpu) -> tuple[Tile, ...]:
    """Tiles worth a try on a GPU, smallest first. Without matrix cores accumulators are in every lane's registers."""
    if gpu is CHECK:
        return _CHECKED
    if gpu.matrix == "v_dot4":
        return _DOTS
    return _CDNA if gpu.wave == 64 else _RDNA


def candidates(step: Step, gpu: Gpu) -> list[Variant]:
    """Every variant that computes a step."""
    match step.kernel:
        case "conv":
            return list(_convolutions(step, gpu))
        case "matmul" | "matmul_real":
            return list(_products(step, gpu))
        case "part":
            return list(_parts(step, gpu))
        case "attention" | "attention_real":
            return list(_attentions(step, gpu))
        case "depthwise" | "pool":
            return [_windowed(step)]
        case "weight_only":
            return list(_weighted(step, gpu))
        case name if name in _ROWS:
            few = step.integer("count") <= 64
            return [_fixed(step, warps=1 if few else 4, BM=4, BLOCK=64 if few else 256)]
        case _:
            few = step.integer("count") <= _SMALL
            return [_fixed(step, warps=1 if few else 4, BLOCK=256 if few else 1024)]


def grid_of(step: Step, variant: Variant) -> tuple[int, int, int]:
    """Workgroups along x, y and z."""

    def parts(name: str, tile: str) -> int:
        return -(-step.integer(name) // variant.constant(tile))

    match step.kernel:
        case "conv" | "part":
            return parts("rows", "BM"), parts("n", "BN"), step.batch
        case "matmul" | "matmul_real":
            return parts("m", "BM"), parts("n", "BN"), step.batch
        case "attention" | "attention_real":
            return parts("m", "BM"), 1, step.batch
        case "depthwise" | "pool":
            return parts("rows", "BM"), parts("c", "BC"), 1
        case "weight_only":
            return parts("m", "BM"), parts("n", "BN"), 1
        case name if name in _ROWS:
            return parts("rows", "BM"), 1, 1
        case _:
            return parts("count", "BLOCK"), 1, 1


def _fixed(step: Step, *, warps: int, **constants: int) -> Variant:
    return Variant.of(step.kernel, {**step.constants, **constants}, types=step.types, warps=warps)


def _windowed(step: Step) -> Variant:
    channels, few = step.integer("c"), step.integer("rows") * step.integer("c") <= _SMALL
    wide = () if channels % 16 else (("c", 16),)
    if few:
        return Variant.of(step.kernel, {**step.constants, "BM": 8, "BC": 32}, warps=1)
    tile = {"BM": 32, "BC": 32} if channels <= 32 else {"BM": 32, "BC": 64}
    return Variant.of(step.kernel, {**step.constants, **tile}, divisible=wide)


def _weighted(step: Step, gpu: Gpu) -> Iterator[Variant]:
    """Few rows, as when text is made word by word, are padded least by the smallest tile; what spills gets it too."""
    few = step.integer("m") <= 16 or step.integer("m") * step.integer("n") <= _SMALL
    lone = gpu.matrix == "v_dot4"  # every lane multiplies real numbers by itself, and holds what that takes
    hints = tuple((name, 16) for name in ("pitch", "block", "k") if step.integer(name) % 16 == 0)
    # The fallback has one stage: with two, a loop stores to LDS right before its barrier and LLVM leaves out the wait,
    # because LDS is in order for a workgroup. The emulator knows no such order, and refuses that.
    for rows, columns in ((16, 32),) if few else ((32, 32),) if lone else ((64, 64), (32, 32)):
        yield Variant.of(
            step.kernel,
            {**step.constants, "BM": rows, "BN": columns},
            types=step.types,
            divisible=hints,
            warps=1 if few and not lone else 4,
            stages=1 if (rows, columns) == (32, 32) and not lone else 2,
            instruction=16 if gpu.wave == 64 else 0,
        )


def _convolutions(step: Step, gpu: Gpu) -> Iterator[Variant]:
    inner, depth = step.integer("c"), step.integer("depth") // step.integer("taps")
    by_table = step.constants["MODE"] == 2
    hints: list[tuple[str, int]] = [("depth", 16)]
    if not by_table and (multiple := gcd(inner, step.integer("x_row"), 16)) >= 4:
        hints += [("c", multiple), ("x_row", multiple)]
    if (multiple := gcd(step.integer("n"), step.integer("y_row"), 16)) >= 4:
        hints += [("y_row", multiple), ("n", multiple)]
    if step.constants["MODE"] == 0 and gpu.matrix.startswith("v_wmma") and ("c", 16) in hints:
        yield from _directs(step, gpu, depth, tuple(hints))
    for tile in _sensible(tiles_of(gpu), step.integer("rows"), step.integer("n"), depth):
        even = not by_table and inner % tile.depth == 0
        # Elements loaded one by one, each under a mask of its own, are too many for one wavefront's registers.
        fewest = 1 if ("c", 16) in hints or step.constants["MODE"] == 0 else 2
        yield _tiled(step, replace(tile, warps=max(tile.warps, fewest)), tuple(hints), EVEN=even)


def _directs(step: Step, gpu: Gpu, depth: int, hints: tuple[tuple[str, int], ...]) -> Iterator[Variant]:
    """Without LDS, where rows of the left matrix lie at multiples of 16 bytes: a lane's share of a fragment."""
    inner, version = step.integer("c"), 1 if gpu.name.startswith("gfx11") else 2
    tiles = [tile for *_, tile in _DIRECT]
    for tile in _sensible(tiles, step.integer("rows"), step.integer("n"), depth):
        down, across, _ = _DIRECT[tiles.index(tile)]
        constants = {"DOWN": down, "ACROSS": across, "VERSION": version, "EVEN": inner % tile.depth == 0}
        tiled = _tiled(replace(step, kernel="direct"), tile, hints, **constants)
        if depth % tile.depth == 0:
            yield tiled


def _parts(step: Step, gpu: Gpu) -> Iterator[Variant]:
    inner = step.integer("c")
    hints = [("depth", 16), ("span", 16)]
    hints += [(name, multiple) for name in ("c", "x_row", "n") if (multiple := gcd(step.integer(name), 16)) >= 4]
    for tile in _sensible(tiles_of(gpu), step.integer("rows"), step.integer("n"), step.integer("span")):
        yield _tiled(step, tile, tuple(hints), EVEN=inner % tile.depth == 0)


def _products(step: Step, gpu: Gpu) -> Iterator[Variant]:
    names = ("a_row" if step.constants["A_ROWS"] else "a_k", "b_column" if step.constants["B_COLUMNS"] else "b_k")
    hints = [(name, gcd(step.integer(name), 16)) for name in (*names, "y_row")]
    strides = [step.integer(name) for name in ("a_outer", "a_inner", "b_outer", "b_inner", "y_outer", "y_inner")]
    aligned = gcd(step.integer("k"), *strides, 16) == 16
    if aligned:
        hints += [(name, 16) for name in ("k", "a_outer", "a_inner", "b_outer", "b_inner", "y_outer", "y_inner")]
    hints = [hint for hint in hints if hint[1] >= 4] if aligned else []
    # Triton 3.7.1 mixes up the places of a right matrix that lies by rows when one wavefront of gfx90a transposes it.
    fewest = 1 if step.constants["B_COLUMNS"] else 2
    tiles = tiles_of(gpu) if step.kernel == "matmul" else _real_tiles(step, gpu)
    for tile in _sensible(tiles, step.integer("m"), step.integer("n"), -(-step.integer("k") // 32) * 32):
        yield _tiled(step, replace(tile, warps=max(tile.warps, fewest)), tuple(hints))


def _attentions(step: Step, gpu: Gpu) -> Iterator[Variant]:
    """Blocks of queries and keys; where one block may have all keys, a kernel that reads them once."""
    strides = {"Q": ("q_row", "q_k"), "K": ("k_column", "k_k"), "V": ("v_row", "v_column")}
    names = [pair[not step.constants[f"{side}_ROWS"]] for side, pair in strides.items()]
    names += ["depth", "wide", "y_row", *(f"{side}_{axis}" for side in "qkvy" for axis in ("outer", "inner"))]
    multiple = gcd(*(step.integer(name) for name in names), 16)
    hints = tuple((name, multiple) for name in names) if multiple >= 4 else ()
    coded, keys = step.kernel == "attention", step.integer("n")
    lone = gpu.matrix == "v_dot4" if coded else _in_lanes(step, gpu)
    kind = "lanes" if lone else "cdna" if gpu.wave == 64 else "rdna"
    # See `_products` about one wavefront and values that lie by rows.
    fewest = 2 if coded and step.constants["V_ROWS"] else 1
    for queries, block, warps in _HEADS[kind]:
        fits = queries < 2 * max(step.integer("m"), 9) and block < 2 * max(keys, 17)
        if fits or (queries, block) == _HEADS[kind][0][:2]:
            sizes = {"BM": queries, "BN": block, "BD": _power(step, "depth"), "BV": _power(step, "wide")}
            constants = {**step.constants, **sizes, **({"WHOLE": block >= keys} if coded else {})}
            yield Variant.of(
                step.kernel, constants, types=step.types, divisible=hints, warps=max(warps, fewest), stages=1
            )


def _power(step: Step, name: str) -> int:
    """The power of two that holds so many elements of a head."""
    return max(32, 1 << (step.integer(name) - 1).bit_length())


def _real_tiles(step: Step, gpu: Gpu) -> Sequence[Tile]:
    """Small tiles: real numbers take two or four times the registers and LDS of codes."""
    tiles = _DOTS if _in_lanes(step, gpu) else tiles_of(gpu)
    return [tile for tile in tiles if tile.depth == _DEPTH and tile.rows * tile.columns <= _REAL_TILE]


def _in_lanes(step: Step, gpu: Gpu) -> bool:
    """Whether no matrix core takes a step's real numbers: every lane holds accumulators and both operands."""
    return gpu.matrix == "v_dot4" or (gpu.wave == 32 and step.types.get("y") != "fp16")


def _sensible(tiles: Sequence[Tile], rows: int, columns: int, depth: int) -> Iterator[Tile]:
    """Tiles less than twice as large as the product in each direction, and always the smallest."""
    for tile in tiles:
        fits = tile.rows < 2 * max(rows, 9) and tile.columns < 2 * max(columns, 17) and depth % tile.depth == 0
        if fits or tile is tiles[0]:
            yield tile


def _tiled(step: Step, tile: Tile, hints: tuple[tuple[str, int], ...], **constants: int) -> Variant:
    sizes = {"BM": tile.rows, "BN": tile.columns, "BK": tile.depth}
    return Variant.of(
        step.kernel,
        {**step.constants, **constants, **sizes},
        types=step.types,
        divisible=hints,
        warps=tile.warps,
        stages=tile.stages,
        instruction=tile.instruction,
    )
