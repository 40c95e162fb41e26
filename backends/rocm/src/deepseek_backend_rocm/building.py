"""Variants of kernels to code objects, by Triton, and what their assembly says about them. Kept in the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from deepseek_backend_rocm.assembly import Listing, read_assembly
from deepseek_backend_rocm.kernels.signatures import SIGNATURES, Variant
from deepseek_backend_rocm.targets import ARCHITECTURES, CHECK
from deepseek_backend_rocm.toolchain import TRITON, require
from deepseek_core.errors import BackendError, StorageError
from deepseek_core.selection import atomic_write, cache_folder

__all__ = ["Built", "build", "sources"]


_COMMON = ("assembly.py", "kernels/numerics.py", "kernels/pointwise.py", "kernels/signatures.py")
"""Sources that every code object, or what is kept of it, depends on."""


@dataclass(frozen=True, slots=True)
class Built:
    """A compiled variant.

    Attributes:
        variant: what it was compiled from.
        code: the code object, an ELF file.
        symbol: of its entry point.
        threads: of a workgroup.
        shared: bytes of dynamic LDS.
        listing: what its assembly says.
    """

    variant: Variant
    code: bytes = field(repr=False)
    symbol: str
    threads: int
    shared: int
    listing: Listing


def build(variant: Variant, gpu: str) -> Built:
    """Compile a variant, or take it from the cache.

    Args:
        gpu: a name in `targets.ARCHITECTURES`.

    Raises:
        BackendError: Triton is missing or cannot compile the variant.
        StorageError: the cache cannot be written.
    """
    module = f"kernels/{SIGNATURES[variant.kernel].module}.py"
    return _build(variant, gpu, cache_folder() / "rocm" / sources(*_COMMON, module))


@lru_cache(4096)
def _build(variant: Variant, gpu: str, folder: Path) -> Built:
    key = hashlib.sha256(f"{variant.name} {gpu}".encode()).hexdigest()[:32]
    path = folder / gpu / f"{variant.kernel}-{key}"
    found = _read(path, variant)
    if found is None:
        found = _compile(variant, gpu)
        _write(path, found)
    return found


@cache
def sources(*patterns: str) -> str:
    """One name for this Triton and for some sources: other code is another folder of the cache.

    Args:
        patterns: of files in this package.
    """
    digest, here = hashlib.sha256(TRITON.encode()), Path(__file__).parent
    for pattern in patterns:
        for path in sorted(here.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _compile(variant: Variant, gpu: str) -> Built:
    require()
    import triton
    from triton.backends.compiler import GPUTarget

    wave = ARCHITECTURES[gpu].wave
    target = GPUTarget("cuda", 90, wave) if gpu == CHECK.name else GPUTarget("hip", gpu, wave)
    options: dict[str, Any] = {"num_warps": variant.warps, "num_stages": variant.stages, "enable_fp_fusion": False}
    if variant.instruction and gpu != CHECK.name:
        options["matrix_instr_nonkdim"] = variant.instruction
    try:
        with _quiet_cache():
            compiled = triton.compile(_source(variant), target=target, options=options)
    except Exception as error:  # whatever a compiler of this size raises: its message is all there is to say
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise BackendError(f"Triton cannot compile {variant.name} for {gpu}: {reason}", fix="report this") from error
    metadata = compiled.metadata
    signature = SIGNATURES[variant.kernel]
    size = signature.size
    if gpu == CHECK.name:
        listing = Listing(0, 0, 0, 0, 0, size, 0, {}, {})
        return Built(variant, compiled.asm["cubin"], metadata.name, variant.warps * wave, metadata.shared, listing)
    listing = read_assembly(compiled.asm["amdgcn"], signature.loops)
    if listing.arguments != size:
        raise BackendError(
            f"{variant.name} takes {listing.arguments} bytes of arguments on {gpu}", fix=f"install triton {TRITON}"
        )
    return Built(variant, compiled.asm["hsaco"], metadata.name, variant.warps * wave, metadata.shared, listing)


def _source(variant: Variant) -> Any:
    from triton.compiler import ASTSource
    from triton.experimental.gluon._runtime import GluonASTSource

    signature = SIGNATURES[variant.kernel]
    function = getattr(importlib.import_module(f"deepseek_backend_rocm.kernels.{signature.module}"), variant.kernel)
    types = {**signature.pointers, **dict(variant.types)}
    typed = {name: f"*{types[name]}" for name in signature.pointers}
    typed |= dict.fromkeys(signature.integers, "i32") | dict.fromkeys(signature.reals, "fp32")
    typed |= dict.fromkeys(signature.constants, "constexpr")
    names = list(typed)
    hints = {(names.index(n),): [["tt.divisibility", 16], ["tt.pointer_range", 32]] for n in signature.pointers}
    hints |= {(names.index(name),): [["tt.divisibility", multiple]] for name, multiple in variant.divisible}
    source = GluonASTSource if function.is_gluon() else ASTSource
    return source(fn=function, signature=typed, constexprs=dict(variant.constants), attrs=hints)


@contextlib.contextmanager
def _quiet_cache() -> Iterator[None]:
    """Triton's own cache is of no use here, and must not be left in the home folder."""
    from triton import knobs

    with tempfile.TemporaryDirectory() as folder, knobs.cache.scope(), knobs.compilation.scope():
        knobs.cache.dir = folder
        knobs.compilation.always_compile = True
        yield


def _read(path: Path, variant: Variant) -> Built | None:
    """What is in the cache; None where there is nothing, or nothing whole."""
    try:
        data = path.read_bytes()
        size = int.from_bytes(data[:4], "little")
        facts = json.loads(data[4 : 4 + size])
        code = data[4 + size :]
        if facts["sha256"] != hashlib.sha256(code).hexdigest():
            return None
        listing = Listing(**facts["listing"])
        return Built(variant, code, facts["symbol"], facts["threads"], facts["shared"], listing)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, built: Built) -> None:
    facts = {
        "symbol": built.symbol,
        "threads": built.threads,
        "shared": built.shared,
        "listing": asdict(built.listing),
        "sha256": hashlib.sha256(built.code).hexdigest(),
    }
    text = json.dumps(facts).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(len(text).to_bytes(4, "little") + text + built.code)
    except (OSError, StorageError) as error:
        raise StorageError(
            f"the cache of code objects cannot be written: {error}",
            fix="set DEEPSEEK_CACHE_DIR to a writable folder",
        ) from None
