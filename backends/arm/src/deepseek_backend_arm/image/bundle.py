"""Images in three formats: `bin`, a static executable; `lib`, a static library; `c`, sources. Deterministic bytes."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from deepseek_backend_arm import __version__
from deepseek_backend_arm.build import runtime_folder
from deepseek_backend_arm.compiler import compilers, plan
from deepseek_backend_arm.image.csource import CONSTANTS, Identity, model_source
from deepseek_backend_arm.image.texts import EXAMPLE, MAKEFILE, README
from deepseek_backend_arm.plan.program import Program
from deepseek_backend_arm.settings import Settings
from deepseek_backend_arm.sources import BARE, FLAGS, LIBRARY, march, sources
from deepseek_backend_arm.targets import LEVELS, cpu_of
from deepseek_backend_arm.toolchain import find_toolchain, run_tool
from deepseek_core import Artifact, CompileOptions, QuantizedModel, Target

__all__ = ["cross_compile"]

_DATE = (1980, 1, 1, 0, 0, 0)
_MADE = ".obj"
"""Ending of objects that another compiler made: a makefile's `clean` leaves them."""


def cross_compile(model: QuantizedModel, target: Target, format: str, options: CompileOptions) -> Artifact | None:
    """An image of a whole model; None for a format that there is none of.

    Raises:
        ConfigError: an unknown option.
        BackendError: units that the target does not run, or there is no toolchain.
    """
    if format not in _FORMATS:
        return None
    Settings.read(options)
    cpu = cpu_of(target)
    program = plan(model, target, options)
    identity = Identity(
        model.graph.name or "model",
        model.digest(),
        str(target),
        LEVELS.index(cpu.level),
    )
    options.progress("arm: writing C", 0.3)
    files = {
        "program.c": model_source(program, identity).encode(),
        "constants.bin": program.constants,
        "constants.S": CONSTANTS.encode(),
    }
    if program.linked.functions:
        files["linked.c"] = program.linked.source().encode()
        files |= {f"unit{number}.obj": data for number, data in enumerate(program.linked.objects)}
    payload, toolchain = _FORMATS[format](files, program, options)
    options.progress("arm: done", 1.0)
    report = {**program.report, "image_bytes": len(payload)}
    made = {"deepseek-backend-arm": __version__, **compilers(program), **toolchain}
    return Artifact(target, payload, format, made, report=report)


_Built = tuple[bytes, dict[str, str]]


def _bin(files: Mapping[str, bytes], program: Program, options: CompileOptions) -> _Built:
    """A static executable."""
    runtime = runtime_folder(options)
    toolchain = find_toolchain()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = _objects(folder, files, options)
        bare = BARE if toolchain.has_bare_images else ()
        inputs = [*own, *(str(runtime / f"{name}.o") for name in ("main", "npy", *bare))]
        libraries = ["-nostdlib", "-lm", "-lgcc"] if bare else ["-lm", "-lpthread"]
        options.progress("arm: linking", 0.8)
        words = ["-static", "-s", "-Wl,--gc-sections", "-o", "image", *inputs, str(runtime / "libds.a"), *libraries]
        toolchain.run(words, folder)
        return (folder / "image").read_bytes(), {toolchain.name: toolchain.version}


def _lib(files: Mapping[str, bytes], program: Program, options: CompileOptions) -> _Built:
    """A static library with its header and an example, zipped."""
    runtime, toolchain = runtime_folder(options), find_toolchain()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = _objects(folder, files, options)
        objects = [*own, *(str(runtime / f"{part}.o") for part in LIBRARY if f"{part}.o" not in own)]
        run_tool([*toolchain.archive, "rcsD", "libmodel.a", *objects], folder)
        library = (folder / "libmodel.a").read_bytes()
    contents = {"libmodel.a": library, "ds.h": sources()["ds.h"].encode(), "example.c": EXAMPLE.encode()}
    return _zipped({**contents, "README.txt": README["lib"].encode()}), {toolchain.name: toolchain.version}


def _c(files: Mapping[str, bytes], program: Program, options: CompileOptions) -> _Built:
    """Every source with a makefile, zipped."""
    left_out = ("serve.c", "loader.c", "loader.h", "bare.h", *(f"{name}.c" for name in BARE))
    own = {name: text.encode() for name, text in sources().items() if name not in left_out}
    own.pop("kernels.inc")
    names = [*(name for name in LIBRARY if name != "loader"), "program", "main", "npy"]
    rules = "".join(f"{name}.o: CFLAGS += {' '.join(march(name))}\n" for name in names if march(name))
    objects = " ".join(f"{name}.o" for name in names)
    made = " ".join(name for name in files if name.endswith(_MADE))
    makefile = MAKEFILE.format(objects=objects, made=made, flags=" ".join(FLAGS), rules=rules)
    return _zipped({**own, **files, "Makefile": makefile.encode(), "README.txt": README["c"].encode()}), {}


_FORMATS: dict[str, Callable[[Mapping[str, bytes], Program, CompileOptions], _Built]] = {
    "bin": _bin,
    "lib": _lib,
    "c": _c,
}


def _objects(folder: Path, files: Mapping[str, bytes], options: CompileOptions) -> list[str]:
    """Compile the model's own sources; gives the names of all its objects."""
    toolchain = find_toolchain()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    include = f"-I{runtime_folder(options)}"
    options.progress("arm: compiling", 0.5)
    sources = [name for name in files if name.endswith((".c", ".S"))]
    for source in sources:
        toolchain.run([*FLAGS, include, "-c", source, "-o", f"{Path(source).stem}.o"], folder)
    return [*(f"{Path(source).stem}.o" for source in sources), *(name for name in files if name.endswith(_MADE))]


def _zipped(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    return packed.getvalue()
