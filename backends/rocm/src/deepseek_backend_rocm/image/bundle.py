"""Images in two formats: `c`, sources of a launcher with everything it runs, zipped; `bin`, the fat artifact alone."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from importlib.resources import files

from deepseek_backend_rocm import __version__
from deepseek_backend_rocm.capabilities import FORMATS
from deepseek_backend_rocm.compiler import build_image
from deepseek_backend_rocm.container import encode
from deepseek_backend_rocm.image.csource import blob_and_source
from deepseek_backend_rocm.image.texts import BLOB, MAKEFILE, README
from deepseek_backend_rocm.program import Image
from deepseek_backend_rocm.toolchain import TRITON
from deepseek_core import Artifact, CompileOptions, QuantizedModel, Target

__all__ = ["cross_compile"]

_DATE = (1980, 1, 1, 0, 0, 0)
_SOURCES = ("hip_api.h", "launcher.c", "launcher.h", "main.c")


def cross_compile(model: QuantizedModel, target: Target, format: str, options: CompileOptions) -> Artifact | None:
    """An image of a whole model; None for a format that there is none of.

    Raises:
        ConfigError: an unknown option.
        BackendError: units that the target does not run, or Triton is missing.
    """
    if format not in FORMATS:
        return None
    image = build_image(model, target, options)
    payload = _zipped(_files(image, model.graph.name or "model")) if format == "c" else encode(image)
    toolchain = {"deepseek-backend-rocm": __version__, "triton": TRITON}
    return Artifact(target, payload, format, toolchain, report={**image.report, "image_bytes": len(payload)})


def _files(image: Image, name: str) -> dict[str, bytes]:
    blob, source = blob_and_source(image, name)
    folder = files("deepseek_backend_rocm.image")
    own = {each: (folder / each).read_bytes() for each in _SOURCES}
    texts = {
        "Makefile": MAKEFILE,
        "README.txt": README.format(name=name, architectures=", ".join(sorted(image.programs))),
        "data.S": BLOB,
        "model.c": source,
        "report.json": json.dumps(image.report, indent=1),
    }
    return {**own, "model.bin": blob, **{path: text.encode() for path, text in texts.items()}}


def _zipped(contents: Mapping[str, bytes]) -> bytes:
    """The same bytes for the same contents."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    return packed.getvalue()
