"""Open whatever a user names: an ONNX model or a `.ds` package."""

from __future__ import annotations

from pathlib import Path

from deepseek_core.errors import ModelError
from deepseek_core.ir.frontend import load_model
from deepseek_core.package import Package

__all__ = ["open_file"]

_ZIP = b"PK\x03\x04"


def open_file(path: Path, public_key: bytes | None = None) -> Package:
    """The package in a `.ds` file, or one that holds nothing but the model of an ONNX file.

    Args:
        public_key: Ed25519 public key in PEM form that the package must be signed with.

    Raises:
        PackageError: the package is damaged, too new, or not signed by the key.
        ModelError: the ONNX model cannot be read, or a signature is asked of it.
    """
    with path.open("rb") as file:
        is_package = file.read(len(_ZIP)) == _ZIP or path.suffix == ".ds"
    if is_package:
        return Package.open(path, public_key)
    if public_key is not None:
        raise ModelError(f"{path} is no package, so it carries no signature", fix="give a signed .ds file")
    return Package(load_model(path))
