from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from deepseek.quantization import QuantizationRecipe
from deepseek.quantization.run import run, start
from deepseek.quantization.steps import StepSpec
from deepseek.quantization.steps.hold_out import divide

from deepseek_core import DType, Registry
from deepseek_core.errors import ConfigError

from .conftest import perceptron, samples_of


@pytest.mark.parametrize(("count", "held"), [(2, 1), (5, 1), (10, 2), (100, 20), (1000, 32)])
def test_the_parts_are_disjoint_and_seeded(count: int, held: int) -> None:
    samples = [{"x": np.full(1, number, np.float32)} for number in range(count)]
    kept, out = divide(samples, 0.2, 32, 3)
    numbers = [[int(sample["x"][0]) for sample in part] for part in (kept, out)]
    assert sorted(numbers[0] + numbers[1]) == list(range(count))
    assert (len(kept), len(out)) == (count - held, held)
    assert numbers[0] == sorted(numbers[0])
    again = divide(samples, 0.2, 32, 3)
    assert [list(part) for part in again] == [list(kept), list(out)]
    assert all(sample in kept for sample in kept)
    assert not any(sample in out for sample in kept)


def test_a_single_sample_serves_as_both() -> None:
    samples = samples_of(perceptron(), 1)
    assert divide(samples, 0.2, 32, 0) == (samples, samples)


@pytest.mark.parametrize("options", [{"share": 1.5}, {"share": 0.0}, {"at_most": 0}])
def test_a_part_that_cannot_be_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        StepSpec("hold_out", options).build()


def test_fewer_samples_keep_the_ranges_of_all() -> None:
    model = perceptron()
    few = QuantizationRecipe(steps=(StepSpec("fewer_samples", {"count": 3}),))
    whole, work = (run(start(model, samples_of(model), r), r) for r in (QuantizationRecipe(), few))
    assert len(list(work.samples)) == len(work.samples) == 3
    assert work.quantized().digest() == whole.quantized().digest()
    with pytest.raises(ConfigError):
        StepSpec("fewer_samples", {"count": 0}).build()


def test_assign_gives_units_their_formats(npu: Callable[..., Registry]) -> None:
    model = perceptron(4)
    step = StepSpec("assign", {"float32": ("gemm_0",), "w4a8": ("gemm_2",)})
    recipe = QuantizationRecipe(steps=(step,))
    work = run(start(model, samples_of(model), recipe), recipe)
    units = {unit.name: unit for unit in work.quantized().units()}
    found = {}
    for name, unit in units.items():
        weights = [o.qparams.scheme.dtype for o in unit.inputs if o is not None and o.role == "weight" and o.qparams]
        found[name] = weights[0] if weights else None
    gemms = {name: found[name] for name in found if name.startswith("gemm")}
    assert gemms == {"gemm_0": None, "gemm_1": DType.INT8, "gemm_2": DType.INT4, "gemm_3": DType.INT8}
    assert work.recipe().skipped["gemm_0"] == "mixed precision"


@pytest.mark.parametrize(
    ("options", "words"),
    [({"float32": ("gemm_9",)}, "gemm_9"), ({"float32": ("gemm_0",), "int8": ("gemm_0",)}, "twice")],
)
def test_assign_refuses_what_it_cannot_do(options: dict[str, tuple[str, ...]], words: str) -> None:
    model = perceptron()
    recipe = QuantizationRecipe(steps=(StepSpec("assign", options),))
    with pytest.raises(ConfigError, match=words):
        run(start(model, samples_of(model), recipe), recipe)
