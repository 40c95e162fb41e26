"""Folders of samples."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A 40 × 30 photo: red rises from left to right, green from top to bottom, blue is constant."""
    x, y = np.meshgrid(np.arange(40) * 6, np.arange(30) * 8)
    path = tmp_path / "photo.png"
    Image.fromarray(np.stack([x, y, np.full_like(x, 99)], -1).astype(np.uint8)).save(path)
    return path
