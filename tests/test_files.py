from pathlib import Path

import onnx
import pytest

from deepseek_core.errors import ModelError, PackageError
from deepseek_core.files import open_file
from deepseek_core.ir.frontend import load_model
from deepseek_core.package import Package, generate_key


def test_models_and_packages_are_told_apart_by_content(tmp_path: Path, mlp: onnx.ModelProto) -> None:
    onnx.save(mlp, tmp_path / "model")
    Package(load_model(mlp)).save(tmp_path / "package")
    model, package = open_file(tmp_path / "model"), open_file(tmp_path / "package")
    assert not model.manifest.members
    assert package.manifest.members
    assert model.model.digest() == package.model.digest()


def test_a_damaged_package_is_not_taken_for_a_model(tmp_path: Path) -> None:
    (tmp_path / "model.ds").write_bytes(b"\0" * 100)
    with pytest.raises(PackageError):
        open_file(tmp_path / "model.ds")


def test_a_model_cannot_satisfy_a_key(tmp_path: Path, mlp: onnx.ModelProto) -> None:
    onnx.save(mlp, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="no signature"):
        open_file(tmp_path / "model.onnx", generate_key()[1])
