from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from deepseek.quantization import QuantizationRecipe, Work
from deepseek.quantization.precision import Precision
from deepseek.quantization.run import run, start
from deepseek.quantization.search import Budget, auto
from deepseek.quantization.search.auto import is_better
from deepseek.quantization.search.budget import Score
from deepseek.quantization.search.effort import Effort
from deepseek.quantization.search.fidelity import Fidelity
from deepseek.quantization.search.ladder import LADDER, Rung, with_step
from deepseek.quantization.steps import STEPS, StepSpec

from deepseek_core import CalibratorSpec
from deepseek_core.errors import ConfigError

from .conftest import perceptron, samples_of, transformer

RUNS: list[str] = []


@dataclass(frozen=True, slots=True)
class Helpful:
    """Weights over a better range."""

    def __call__(self, work: Work) -> Work:
        RUNS.append("helpful")
        return replace(work, weight_ranges=CalibratorSpec("mse"))


@dataclass(frozen=True, slots=True)
class Harmful:
    """Activations over a useless range."""

    def __call__(self, work: Work) -> Work:
        RUNS.append("harmful")
        return replace(work, calibrator=CalibratorSpec("percentile", (("percentile", 60.0),)))


@dataclass(frozen=True, slots=True)
class Impossible:
    """Never fits."""

    def __call__(self, work: Work) -> Work:
        raise ConfigError("nothing here suits", fix="leave it out")


TOYS = {name: Rung(name, ((StepSpec(name),),)) for name in ("helpful", "harmful", "impossible")}
START = QuantizationRecipe(calibrator=CalibratorSpec("minmax"))


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    RUNS.clear()
    kinds = {"helpful": "Helpful", "harmful": "Harmful", "impossible": "Impossible"}
    for name, kind in kinds.items():
        monkeypatch.setitem(STEPS, name, f"{__name__}:{kind}")  # type: ignore[arg-type]


def names(recipe: QuantizationRecipe) -> list[str]:
    return [spec.name for spec in recipe.steps]


def test_what_helps_is_kept_and_the_rest_dropped() -> None:
    model = perceptron()
    outcome = auto(model, samples_of(model, 20), recipe=START, ladder=list(TOYS.values()))
    verdicts = {trial.step: trial.verdict for trial in outcome.trials}
    assert verdicts["plain"] == "start"
    assert verdicts["harmful"] == "dropped"
    assert verdicts["impossible"].startswith("not possible: nothing here suits")
    assert ("helpful" in names(outcome.recipe)) == (verdicts["helpful"] == "kept")
    assert "harmful" not in names(outcome.recipe)


def test_the_recipe_alone_gives_the_same_bits() -> None:
    model = transformer(sharp=4.0, outlier=4.0)
    outcome = auto(model, samples_of(model), ladder=LADDER[:1])
    again = QuantizationRecipe.from_json(outcome.recipe.to_json())
    work = run(start(model, samples_of(model), again), again)
    assert work.quantized().digest() == outcome.quantized().digest()


def test_it_stops_when_the_budget_is_met() -> None:
    model = perceptron()
    outcome = auto(model, samples_of(model), Budget(min_sqnr=5), recipe=START, ladder=list(TOYS.values()))
    assert [trial.step for trial in outcome.trials] == ["plain"]
    assert outcome.shortfall is None
    assert not RUNS


def test_what_cannot_be_met_is_stated_with_the_best_found() -> None:
    model = perceptron()
    outcome = auto(model, samples_of(model), Budget(min_sqnr=300), recipe=START, ladder=list(TOYS.values()))
    assert outcome.shortfall is not None
    assert "wanted 300 dB" in outcome.shortfall
    assert outcome.score.fidelity.sqnr >= outcome.trials[0].after.fidelity.sqnr  # type: ignore[union-attr]
    assert outcome.quantized().units()


def test_the_table_says_what_each_step_bought() -> None:
    model = perceptron()
    outcome = auto(model, samples_of(model, 20), recipe=START, ladder=list(TOYS.values()))
    lines = outcome.table().splitlines()
    assert lines[0].split()[:3] == ["step", "variant", "seconds"]
    assert len(lines) == 1 + len(outcome.trials)
    assert " → " in next(line for line in lines if line.startswith("harmful"))


class Measure:
    """Counts how often it is asked, and fails when told to."""

    def __init__(self, fails_at: int = 0, error: type[BaseException] = RuntimeError) -> None:
        self.asked, self._fails_at, self._error = 0, fails_at, error

    def __call__(self, network: Callable[..., dict[str, np.ndarray]]) -> float:  # type: ignore[type-arg]
        self.asked += 1
        if self.asked == self._fails_at:
            raise self._error("no more")
        (feeds,) = samples_of(perceptron(), 1, seed=5)
        return float(network(feeds)["y"].sum())


IMPOSSIBLE = Budget(max_drop=0.0, min_sqnr=300)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_search_goes_on_where_it_stopped(error: type[BaseException], tmp_path: Path) -> None:
    model = perceptron()

    def search(measure: Measure, resume: Path | None) -> object:
        ladder = [TOYS["helpful"], *LADDER[:1]]
        samples, options = samples_of(model, 20), {"recipe": replace(START, precision=Precision.W4A8)}
        return auto(model, samples, IMPOSSIBLE, **options, ladder=ladder, evaluate=measure, resume=resume)  # type: ignore[arg-type]

    whole = Measure()
    expected = search(whole, None)
    assert whole.asked >= 3
    with pytest.raises(error, match="no more"):
        search(Measure(whole.asked, error), tmp_path)
    rest = Measure()
    found = search(rest, tmp_path)
    assert rest.asked == 1
    assert found.recipe == expected.recipe  # type: ignore[attr-defined]
    assert found.score == expected.score  # type: ignore[attr-defined]


def test_what_evaluate_raises_keeps_its_traceback_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_CACHE_DIR", str(tmp_path))
    model = perceptron()
    with pytest.raises(RuntimeError, match="no more") as caught:
        auto(model, samples_of(model), IMPOSSIBLE, recipe=START, evaluate=Measure(2))
    assert any("resume=" in note for note in caught.value.__notes__)
    rest = Measure()
    auto(model, samples_of(model), IMPOSSIBLE, recipe=START, evaluate=rest, resume=tmp_path / "interrupted-search")
    fresh = Measure()
    auto(model, samples_of(model), IMPOSSIBLE, recipe=START, evaluate=fresh)
    assert rest.asked == fresh.asked - 1


def test_evaluate_is_not_asked_without_a_budget_for_it() -> None:
    model, measure = perceptron(), Measure()
    auto(model, samples_of(model), Budget(min_sqnr=5), recipe=START, evaluate=measure)
    assert measure.asked == 0


def test_max_drop_needs_evaluate() -> None:
    with pytest.raises(ConfigError, match="max_drop"):
        auto(perceptron(), samples_of(perceptron()), Budget(max_drop=0.1))


def test_steps_take_their_place() -> None:
    recipe = QuantizationRecipe(steps=(StepSpec("hold_out"), StepSpec("gptq")))
    assert names(with_step(recipe, StepSpec("equalize"))) == ["hold_out", "equalize", "gptq"]
    assert names(with_step(recipe, StepSpec("assign"))) == ["hold_out", "assign", "gptq"]
    assert with_step(recipe, StepSpec("gptq", {"seed": 1})).steps[1].options == {"seed": 1}
    own = replace(recipe, steps=(StepSpec("mine"), *recipe.steps))
    assert names(with_step(own, StepSpec("equalize"))) == ["mine", "hold_out", "equalize", "gptq"]


@pytest.mark.parametrize(
    ("new", "old", "better"),
    [
        ([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], True),
        ([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], False),
        ([1.0, 4.0, 1.0], [1.1, 1.0, 4.5], False),
        ([0.5, 0.6], [0.6, 0.7], True),
    ],
)
def test_less_noise_counts_when_it_is_more_than_chance(new: list[float], old: list[float], better: bool) -> None:
    scores = [Score(Fidelity(sum(values) / len(values), tuple(values), 1.0)) for values in (new, old)]
    assert is_better(*scores) == better


def test_what_is_proven_to_help_is_kept_unless_it_does_not() -> None:
    old, lucky, worse = (
        Score(Fidelity(sum(noise), noise, 1.0)) for noise in ((1.0, 1.0, 1.0), (0.3, 1.0, 1.1), (0.9, 1.2, 1.3))
    )
    assert not is_better(lucky, old)
    assert is_better(lucky, old, proven=True)
    assert not is_better(worse, old, proven=True)


def test_units_are_lifted_when_the_ladder_is_not_enough() -> None:
    model = perceptron(8, 32)
    plain = auto(model, samples_of(model, 20), recipe=START, ladder=[])
    wanted = plain.score.fidelity.sqnr + 0.7
    outcome = auto(model, samples_of(model, 20), Budget(min_sqnr=wanted), recipe=START, ladder=[])
    assert outcome.shortfall is None
    assert outcome.score.fidelity.sqnr >= wanted
    assert outcome.trials[-1].step == "assign"
    assert outcome.trials[-1].verdict == "kept"
    assert set(outcome.recipe.steps[-1].options) <= {"float32", "w8a16"}
    again = run(start(model, samples_of(model, 20), outcome.recipe), outcome.recipe)
    assert again.quantized().digest() == outcome.quantized().digest()


def test_mixed_precision_without_a_budget_is_as_accurate_as_eight_bits() -> None:
    model = perceptron(4, 32)
    plain = auto(model, samples_of(model, 20), recipe=START, ladder=[])
    outcome = auto(model, samples_of(model, 20), recipe=replace(START, precision=Precision.MIXED), ladder=[])
    assert outcome.shortfall is None
    assert outcome.score.fidelity.sqnr >= plain.score.fidelity.sqnr - 1e-9
    assert outcome.recipe.steps[-1].name == "assign"


def test_of_what_misses_the_budget_the_one_that_evaluate_likes_most_is_returned() -> None:
    model = perceptron()
    values = iter([10.0, 9.0, 5.0, 4.0, 3.0])
    outcome = auto(
        model,
        samples_of(model, 20),
        Budget(max_drop=0.5),
        recipe=replace(START, precision=Precision.W4A8),
        ladder=[TOYS["helpful"], *LADDER[:1]],
        evaluate=lambda _: next(values),
    )
    assert outcome.trials[1].verdict == "kept"
    assert outcome.score.value == 9.0
    assert names(outcome.recipe) == ["hold_out"]
    assert outcome.shortfall is not None
    assert "drops by 1" in outcome.shortfall


def test_weights_that_make_no_noise_are_not_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Effort, "noisy", 0.0)
    model = perceptron()
    rung = Rung("helpful", ((StepSpec("helpful"),),), of_weights=True)
    wide = replace(START, precision=Precision.W4A8)
    assert auto(model, samples_of(model), recipe=wide, ladder=[rung]).trials[1].verdict in ("kept", "dropped")
    RUNS.clear()
    narrow = replace(START, calibrator=CalibratorSpec("percentile", (("percentile", 90.0),)))
    (_, trial) = auto(model, samples_of(model), recipe=narrow, ladder=[rung]).trials
    assert trial.verdict.startswith("not tried: weights make")
    assert not RUNS
    monkeypatch.setattr(Effort, "noisy", 90.0)
    auto(model, samples_of(model), recipe=narrow, ladder=[rung])
    assert RUNS, "outputs this noisy have everything tried"


@pytest.mark.parametrize(("noisy", "tried"), [(0.0, []), (90.0, ["helpful"])])
def test_what_costs_speed_is_tried_where_outputs_are_noisy(
    monkeypatch: pytest.MonkeyPatch, noisy: float, tried: list[str]
) -> None:
    monkeypatch.setattr(Effort, "noisy", noisy)
    model = perceptron()
    auto(model, samples_of(model), recipe=START, ladder=[replace(TOYS["helpful"], of_noisy=True)])
    assert tried == RUNS


@pytest.mark.parametrize(("enough", "long_work"), [(10.0, False), (90.0, True)])
def test_without_a_budget_little_noise_is_not_worked_on_for_long(
    monkeypatch: pytest.MonkeyPatch, enough: float, long_work: bool
) -> None:
    monkeypatch.setattr(Effort, "enough", enough)
    model = perceptron()
    ladder = [TOYS["harmful"], replace(TOYS["helpful"], effort=Effort.STANDARD)]
    trials = auto(model, samples_of(model), recipe=START, ladder=ladder).trials
    assert ["harmful", "helpful"][: 1 + long_work] == RUNS
    assert trials[2].verdict.endswith("dB are enough") is not long_work


def test_more_effort_tries_more_and_a_budget_that_is_missed_tries_all() -> None:
    model = perceptron()
    ladder = [replace(TOYS["helpful"], effort=effort) for effort in Effort]
    for number, effort in enumerate(Effort, start=1):
        RUNS.clear()
        tried = auto(model, samples_of(model), recipe=START, ladder=ladder[number - 1 :], effort=effort).trials
        assert [trial.step for trial in tried] == ["plain", "helpful"]
    missed = auto(model, samples_of(model), Budget(min_sqnr=300), recipe=START, ladder=ladder[2:], effort=Effort.QUICK)
    assert "helpful" in [trial.step for trial in missed.trials]


def test_ranges_are_no_matter_where_activations_are_float() -> None:
    model = perceptron()
    rung = replace(TOYS["helpful"], of_activations=True)
    (_, trial) = auto(model, samples_of(model), recipe=replace(START, precision=Precision.INT4), ladder=[rung]).trials
    assert trial.verdict == "not tried: no activation is quantized"
    assert not RUNS
