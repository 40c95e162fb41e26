"""The guide names every step with its options, every setting, every precision, and every argument."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import fields
from pathlib import Path

import pytest
from deepseek.cli import quantize
from deepseek.quantization import Precision, Quantizer, QuantizerConfig
from deepseek.quantization.config import FUSIONS
from deepseek.quantization.steps import STEPS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "quantization.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(STEPS))
def test_every_step_has_a_row_with_its_options(name: str) -> None:
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    module, _, kind = STEPS[name].partition(":")
    options = [field.name for field in fields(getattr(importlib.import_module(module), kind))]
    assert not [option for option in options if f"`{option}`" not in row]


def test_the_table_of_steps_is_in_order() -> None:
    table = PAGE.split("| step | what it does | options |")[1].split("\n\n")[0]
    rows = [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]
    assert rows == sorted(rows)
    assert set(STEPS) <= set(rows)


def test_settings_and_precisions() -> None:
    assert all(f"| `{field.name}` |" in PAGE for field in fields(QuantizerConfig))
    assert all(f"`{precision}`" in PAGE for precision in Precision)
    assert set(quantize._PRECISIONS) == set(map(str, Precision))
    parts = {part for pattern in FUSIONS for part in pattern.split("+")}
    assert not [part for part in parts if f"`{part}`" not in PAGE and f"+{part}`" not in PAGE]


def test_every_argument_is_explained() -> None:
    text = inspect.getdoc(Quantizer) or ""
    names = list(inspect.signature(Quantizer).parameters)
    assert not [name for name in names if f"    {name}: " not in text]
