"""Programs that are images of models, and those that are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepseek_core.cli import main
from deepseek_core.errors import PackageError, TargetError
from deepseek_core.image_file import MARKER, is_program, open_image
from deepseek_core.registry import discover

ELF = b"\x7fELF" + bytes(60)


def _image(said: object) -> bytes:
    return ELF + MARKER + json.dumps(said).encode() + b"\0more"


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (ELF, PackageError, "no image of a model"),
        (ELF + MARKER + b"{", PackageError, "no image of a model"),
        (_image({"target": "echo:v1"}), PackageError, "does not say what it is for"),
        (_image({"target": 3, "format": "bin"}), PackageError, "does not say what it is for"),
        (_image({"target": "nobody:x1", "format": "bin"}), TargetError, "no backend 'nobody'"),
        (_image({"target": "echo:v1", "format": "bin"}), PackageError, "does not run on echo:v1"),
    ],
)
def test_what_is_no_image_of_an_installed_backend_is_refused(tmp_path: Path, data, error, said) -> None:
    path = tmp_path / "firmware.bin"
    path.write_bytes(data)
    assert is_program(path)
    with pytest.raises(error, match=said):
        open_image(path, discover())


def test_run_takes_programs_for_images(tmp_path: Path, capfd) -> None:
    path = tmp_path / "program"
    path.write_bytes(ELF)
    assert main(["run", str(path)]) == 2
    assert "is a program, but no image of a model" in capfd.readouterr().err
