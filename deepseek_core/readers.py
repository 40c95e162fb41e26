"""Models in forms that other distributions read, as entry points of group `deepseek.readers`.

The name of an entry is a file suffix without its dot. What it names is called with a path and the shapes that a user
fixed (input name → sizes; the name is empty where there is one input), and gives a float `QuantizedModel`. It is
imported when such a file is opened.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from deepseek_core.errors import ModelError
from deepseek_core.files import open_file
from deepseek_core.ir.model import QuantizedModel

__all__ = ["ENTRY_POINT_GROUP", "Reader", "read_model"]

ENTRY_POINT_GROUP = "deepseek.readers"

Reader = Callable[[Path, Mapping[str, Sequence[int]]], QuantizedModel]

_FIX = "install the toolkit with torch: pip install 'deepseek[torch]'; or export the module to ONNX"
_MISSING = dict.fromkeys((".pt", ".pt2", ".pth"), _FIX)
"""What to do about a file of a suffix that nothing installed reads."""


def read_model(path: Path, shapes: Mapping[str, Sequence[int]]) -> QuantizedModel:
    """The model in a file: an ONNX model, a `.ds` package, or what an installed reader takes by the file's suffix.

    Args:
        shapes: sizes that are fixed, by input name; readers need them where a file does not say.

    Raises:
        ModelError: the file cannot be read, or what reads it is not installed.
        PackageError: a package that is damaged.
    """
    suffix = path.suffix.lower()
    reader = _reader(suffix)
    if reader is not None:
        return reader(path, shapes)
    if suffix in _MISSING:
        raise ModelError(f"{path} is a file of torch, and nothing that reads it is installed", fix=_MISSING[suffix])
    return open_file(path).model


def _reader(suffix: str) -> Reader | None:
    found = sorted(_entries(suffix.removeprefix(".")), key=lambda entry: entry.value)
    reader: Reader | None = found[0].load() if found else None
    return reader


def _entries(suffix: str) -> Iterable[importlib.metadata.EntryPoint]:
    return importlib.metadata.entry_points(group=ENTRY_POINT_GROUP, name=suffix) if suffix else ()
