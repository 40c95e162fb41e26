"""Files of torch: archives of torch.export, and TorchScript. Pickles are refused, those inside archives too.

Sources: `torch.export.pt2_archive` (archive format 0), `torch/csrc/jit/docs/serialization.md`.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepseek.quantization.frontends.torch.export import of_program, quiet
from deepseek_core import QuantizedModel
from deepseek_core.errors import ConfigError, ModelError
from deepseek_core.ir.frontend import load_model

__all__ = ["read_torch"]

_EXPORT = "export it where it runs: torch.export.save(torch.export.export(module, (example,)), 'model.pt2')"
_SAMPLES = "data/sample_inputs/"
_PICKLED = re.compile(r"(custom_obj|opaque_obj)|data/(weights|constants)/[^/]*\.pt$")
_EXPRESSION = re.compile(r"(?:[\w\s+\-*/(),<>=]|'\w*')*")
_CALLED = re.compile(r"([A-Za-z_]\w*)\s*\(")
_FUNCTION = re.compile(
    "Symbol|Integer|Rational|Add|Mul|Pow|Mod|PythonMod|Max|Min|FloorDiv|CleanDiv|CeilToInt|FloorToInt|TruncToInt|"
    "IntTrueDiv|PowByNatural|ModularIndexing|Where|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not"
)
"""What sizes are made of."""
_FREE = 2
"""Rows of an example along an axis whose size is free."""

Shapes = Mapping[str, Sequence[int]]


def read_torch(path: Path, shapes: Shapes) -> QuantizedModel:
    """The float model in a `.pt`, `.pt2` or `.pth` file.

    Args:
        shapes: sizes by input name, or under an empty name where there is one input. A TorchScript file does not
            say what its inputs look like, so it needs them.

    Raises:
        ModelError: the file is a pickle, holds one, or cannot be read or exported.
        ConfigError: torch is not installed, or a shape is missing.
    """
    try:
        import torch  # noqa: F401
    except ImportError:
        raise ConfigError("torch is not installed", fix="pip install 'deepseek[torch]'") from None
    names = _names(path)
    if any(name.endswith("archive_format") for name in names):
        return _archive(path)
    if any("/code/" in name for name in names):
        return _script(path, shapes)
    raise ModelError(f"{path} is a pickle, which runs code of its author when it is opened", fix=_EXPORT)


def _names(path: Path) -> list[str]:
    """Members of a zip file; none where it is no zip file, as old pickles are not."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except zipfile.BadZipFile:
        return []
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}", fix="give the path of a model") from None


def _archive(path: Path) -> QuantizedModel:
    import torch

    with tempfile.TemporaryDirectory() as folder:
        clean = Path(folder) / "model.pt2"
        clean.write_bytes(_without_pickles(path))
        try:
            with quiet():
                program = torch.export.load(clean)
                program.example_inputs = _example(program)
        except Exception as error:  # whatever torch makes of an archive of another version
            raise ModelError(f"torch cannot read {path}: {_line(error)}", fix=_EXPORT) from error
    try:
        return load_model(of_program(program))
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"torch cannot export {path} to ONNX: {_line(error)}", fix=_EXPORT) from error


def _without_pickles(path: Path) -> bytes:
    """The archive without its sample inputs, which are always pickled, and vetted otherwise.

    Raises:
        ModelError: weights or constants are pickled, or a size is no plain expression.
    """
    import torch

    nothing, result = io.BytesIO(), io.BytesIO()
    torch.save(((), {}), nothing)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(result, "w", zipfile.ZIP_STORED) as target:
        for entry in source.infolist():
            data = source.read(entry)
            if _PICKLED.search(entry.filename):
                raise ModelError(f"{path} holds a pickle, '{entry.filename}'", fix=_EXPORT)
            if entry.filename.endswith(".json"):
                _vet(path, json.loads(data))
            target.writestr(entry.filename, nothing.getvalue() if _SAMPLES in entry.filename else data)
    return result.getvalue()


def _vet(path: Path, tree: Any) -> None:
    for key, value in _entries(tree):
        if key == "use_pickle" and value:
            raise ModelError(f"{path} holds pickled tensors", fix=_EXPORT)
        if key == "expr_str" and not _is_plain(str(value)):
            raise ModelError(f"{path} has a size that is no plain expression: {value!r:.60}", fix=_EXPORT)


def _is_plain(expression: str) -> bool:
    """Whether an expression has numbers, symbols and functions of sizes only: torch evaluates it."""
    return bool(_EXPRESSION.fullmatch(expression)) and all(map(_FUNCTION.fullmatch, _CALLED.findall(expression)))


def _entries(tree: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield str(key), value
            yield from _entries(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _entries(value)


def _example(program: Any) -> Any:
    """Arguments of zeros in the shapes that a program was exported for."""
    import torch
    import torch.utils._pytree as trees

    wanted = set(program.graph_signature.user_inputs)
    leaves = []
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in wanted:
            like = node.meta["val"]
            sizes = [int(size) if isinstance(size, int) else _FREE for size in like.shape]
            leaves.append(torch.zeros(sizes, dtype=like.dtype))
    return trees.tree_unflatten(leaves, program.call_spec.in_spec)


def _script(path: Path, shapes: Shapes) -> QuantizedModel:
    import torch

    load: Any = torch.jit.load
    try:
        with quiet():
            module = load(str(path), map_location="cpu").eval()
    except Exception as error:  # damaged, or of operators that are not installed
        raise ModelError(f"torch cannot read {path}: {_line(error)}", fix=_EXPORT) from error
    names = [argument.name for argument in module.forward.schema.arguments[1:] if str(argument.type) == "Tensor"]
    example = tuple(torch.zeros(tuple(_sizes(path, name, names, shapes))) for name in names)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "model.onnx"
        try:
            with quiet():
                torch.onnx.export(module, example, made, input_names=names, dynamo=False)
        except Exception as error:
            raise ModelError(f"torch cannot export {path} to ONNX: {_line(error)}", fix=_EXPORT) from error
        return load_model(made.read_bytes())


def _sizes(path: Path, name: str, names: Sequence[str], shapes: Shapes) -> Sequence[int]:
    found = shapes.get(name) or (shapes.get("") if len(names) == 1 else None)
    if found is None:
        raise ConfigError(
            f"{path} is TorchScript, which does not say the shape of its input '{name}'",
            fix=f"add --shape {name}=1,3,224,224, with the sizes that it takes",
        )
    return found


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
