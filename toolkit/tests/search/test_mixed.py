from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from deepseek.quantization import QuantizationRecipe
from deepseek.quantization.run import run, start
from deepseek.quantization.search import Budget, Outcome, mixed

from deepseek_core import CalibratorSpec, QuantizedModel, Registry, Unit
from deepseek_core.errors import ConfigError

from .conftest import npu_table, perceptron, samples_of, transformer

NPU_RECIPE = QuantizationRecipe(targets=("npu",), calibrator=CalibratorSpec("minmax"))
ATTENTION = {"query", "key", "turn", "scores", "softmax", "value", "mix"}


def formats_of(outcome: Outcome) -> dict[str, set[str]]:
    """Format → units, as the recipe says."""
    (step,) = (spec for spec in outcome.recipe.steps if spec.name == "assign")
    return {name: set(units) for name, units in step.options.items()}


def found(model: QuantizedModel, registry: Registry, sqnr: float) -> Outcome:
    return mixed(model, samples_of(model), Budget(min_sqnr=sqnr), recipe=NPU_RECIPE, registry=registry)


def test_it_finds_the_attention_in_float16(npu: Callable[..., Registry]) -> None:
    outcome = found(transformer(sharp=60.0, outlier=1.0), npu(), 33.0)
    assert outcome.shortfall is None
    assert outcome.score.fidelity.sqnr >= 33.0
    half = formats_of(outcome)["float16"]
    assert "scores" in half
    assert half <= ATTENTION
    assert "float32" not in formats_of(outcome)


def test_it_finds_another_place_where_that_is_sensitive(npu: Callable[..., Registry]) -> None:
    outcome = found(transformer(sharp=1.0, outlier=200.0), npu(), 25.0)
    assert outcome.shortfall is None
    half = formats_of(outcome)["float16"]
    assert "dense_2" in half
    assert not half & ATTENTION


def test_without_float16_on_the_target_float32_does_it(npu: Callable[..., Registry]) -> None:
    outcome = found(transformer(sharp=60.0, outlier=1.0), npu(npu_table(half=False)), 33.0)
    assert outcome.shortfall is None
    assert set(formats_of(outcome)) == {"float32"}
    assert "scores" in formats_of(outcome)["float32"]


def test_the_recipe_alone_gives_the_same_bits(npu: Callable[..., Registry]) -> None:
    model, registry = transformer(sharp=60.0, outlier=1.0), npu()
    outcome = found(model, registry, 33.0)
    work = run(start(model, samples_of(model), outcome.recipe, registry=registry), outcome.recipe)
    assert work.quantized().digest() == outcome.quantized().digest()


def test_a_looser_budget_is_never_slower(npu: Callable[..., Registry]) -> None:
    model, registry = transformer(sharp=60.0, outlier=1.0), npu()
    counts = []
    for sqnr in (10.0, 33.0, 60.0):
        outcome = found(model, registry, sqnr)
        assert outcome.shortfall is None
        counts.append(sum(len(units) for units in formats_of(outcome).values()))
    assert counts == sorted(counts)


def test_units_that_quantization_does_not_pay_for_stay_float(npu: Callable[..., Registry]) -> None:
    def seconds(unit: Unit) -> float:
        return 2e-6 if unit.is_quantized or unit.op == "QuantizeLinear" else 1e-6

    model = perceptron()
    registry = npu(npu_table(half=False), seconds)
    outcome = mixed(model, samples_of(model), recipe=NPU_RECIPE, registry=registry)
    assert formats_of(outcome) == {"float32": {"gemm_0", "gemm_1", "gemm_2"}}
    assert not any(unit.is_quantized for unit in outcome.quantized().units())


def test_a_unit_is_worth_quantizing_only_with_its_conversions(npu: Callable[..., Registry]) -> None:
    def seconds(unit: Unit) -> float:
        if unit.op == "QuantizeLinear":
            return 5e-6
        return 1e-6 if unit.is_quantized else 3e-6

    wide, narrow = perceptron(6), perceptron(2)
    registry = npu(npu_table(half=False), seconds)
    long = mixed(wide, samples_of(wide), recipe=NPU_RECIPE, registry=registry)
    short = mixed(narrow, samples_of(narrow), recipe=NPU_RECIPE, registry=registry)
    assert "float32" not in formats_of(long)
    assert formats_of(short) == {"float32": {"gemm_0", "gemm_1"}}


def test_a_second_run_measures_nothing_again(
    npu: Callable[..., Registry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, registry = transformer(sharp=60.0, outlier=1.0), npu()
    options = {"recipe": NPU_RECIPE, "registry": registry, "resume": tmp_path}
    first = mixed(model, samples_of(model), Budget(min_sqnr=33), **options)  # type: ignore[arg-type]
    monkeypatch.setattr("deepseek.quantization.search.judge.Judge.fidelity", lambda *_: pytest.fail("measured again"))
    monkeypatch.setattr("deepseek.quantization.search.mixing.mixer.measure", lambda *_, **__: pytest.fail("again"))
    second = mixed(model, samples_of(model), Budget(min_sqnr=33), **options)  # type: ignore[arg-type]
    assert second.recipe == first.recipe
    assert second.table() == first.table()


def test_max_drop_needs_evaluate() -> None:
    with pytest.raises(ConfigError, match="max_drop"):
        mixed(perceptron(), samples_of(perceptron()), Budget(max_drop=0.1))


def test_max_drop_is_kept(npu: Callable[..., Registry]) -> None:
    model, registry = transformer(sharp=60.0, outlier=1.0), npu()
    held = samples_of(model, 6, seed=9)
    wanted: list[float] = []

    def evaluate(network: Callable[..., dict[str, object]]) -> float:
        outputs = [network(feeds)["y"] for feeds in held]
        if not wanted:
            wanted.append(1.0)
            evaluate.reference = outputs  # type: ignore[attr-defined]
        errors = [abs(a - b).mean() for a, b in zip(outputs, evaluate.reference, strict=True)]  # type: ignore[attr-defined]
        return 1.0 - float(sum(errors)) / len(errors)

    outcome = mixed(
        model, samples_of(model), Budget(max_drop=0.05), recipe=NPU_RECIPE, registry=registry, evaluate=evaluate
    )
    assert outcome.shortfall is None
    assert outcome.score.value is not None
    assert outcome.reference == 1.0
    assert outcome.score.value >= 0.95
