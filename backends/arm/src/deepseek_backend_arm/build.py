"""The runtime, compiled once for a toolchain and kept in the cache of the user."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from deepseek_backend_arm.sources import BARE, FLAGS, LIBRARY, features, sources
from deepseek_backend_arm.toolchain import Toolchain, find_toolchain, is_arm, run_tool
from deepseek_core import CompileOptions
from deepseek_core.errors import StorageError
from deepseek_core.selection import cache_folder

__all__ = ["SHARED", "link_shared", "runtime_folder"]

_LIBRARY = "libds.a"
_SERVER = "serve"
SHARED = "libds.so"


def runtime_folder(options: CompileOptions | None = None) -> Path:
    """A folder with `libds.a`, objects of images, `serve`, headers, and on ARM64 `libds.so`; built on first use.

    Raises:
        BackendError: there is no toolchain, or it failed.
        StorageError: the cache cannot be written.
    """
    toolchain = find_toolchain()
    folder = cache_folder() / "arm" / _key(toolchain)
    if not folder.is_dir():
        _build(toolchain, folder, options or CompileOptions())
    return folder


def _key(toolchain: Toolchain) -> str:
    parts = [toolchain.name, toolchain.version, *FLAGS, *toolchain.flags]
    parts += [f"{name}\n{text}" for name, text in sources().items()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _build(toolchain: Toolchain, folder: Path, options: CompileOptions) -> None:
    """Compile in a folder beside, then give it its name: whoever comes second finds it there."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise StorageError(
            f"the runtime for ARM cannot be kept: {error}", fix="set DEEPSEEK_CACHE_DIR to a folder you may write"
        ) from None
    try:
        _compile(toolchain, work, options)
        if not folder.is_dir():
            work.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _compile(toolchain: Toolchain, work: Path, options: CompileOptions) -> None:
    for name, text in sources().items():
        (work / name).write_text(text, encoding="utf-8")
    names = [*LIBRARY, "serve", "main", "npy", *(BARE if toolchain.has_bare_images else ())]
    for position, name in enumerate(names):
        options.progress("arm: building the runtime", position / len(names))
        toolchain.run([*FLAGS, *toolchain.flags, *toolchain.instructions(features(name)), "-c", f"{name}.c"], work)
    run_tool([*toolchain.archive, "rcsD", _LIBRARY, *(f"{name}.o" for name in LIBRARY)], work)
    toolchain.run(["-static", "-s", "-o", _SERVER, "serve.o", _LIBRARY, "-lm", "-lpthread"], work)
    if is_arm():
        link_shared(toolchain, work)


def link_shared(toolchain: Toolchain, work: Path) -> None:
    """The library that this process loads on an ARM64 machine, from the sources in a folder."""
    for name in LIBRARY:
        words = [*FLAGS, *toolchain.flags, *toolchain.instructions(features(name)), "-fPIC"]
        toolchain.run([*words, "-c", f"{name}.c", "-o", f"{name}.pic.o"], work)
    objects = [f"{name}.pic.o" for name in LIBRARY]
    toolchain.run(["-shared", "-s", "-o", SHARED, *objects, "-lm", "-lpthread"], work)
