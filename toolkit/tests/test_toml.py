"""TOML that is written is read back by the standard library."""

from __future__ import annotations

import tomllib

import pytest
from deepseek.quantization import toml
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PLAIN = TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_what_is_written_is_read_back(data: dict) -> None:
    assert tomllib.loads(toml.dumps(data)) == data


def test_a_recipe_is_written_for_people() -> None:
    data = {"seed": 0, "config": {"batch_size": 4}, "steps": [{"step": "equalize"}, {"step": "round", "units": ["a"]}]}
    assert toml.dumps(data) == (
        'seed = 0\n\n[config]\nbatch_size = 4\n\n[[steps]]\nstep = "equalize"\n\n[[steps]]\nstep = "round"\n'
        'units = ["a"]\n'
    )


def test_what_toml_has_not_is_refused() -> None:
    with pytest.raises(TypeError, match="NoneType"):
        toml.dumps({"a": None})
