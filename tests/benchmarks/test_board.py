from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness import Figure
from quantization.board import Board, summary
from quantization.networks.base import Answers, Array, Metric, Network
from quantization.result import Result


class Toy(Network):
    name, title, metrics = "toy", "Toy", (Metric("top-1 %"),)

    def prepare(self, folder: Path) -> None:
        raise NotImplementedError

    def scores(self, answers: Answers, truth: Mapping[str, Array]) -> tuple[float, ...]:
        raise NotImplementedError


def result(method: str, score: float = 80.0, **facts: Any) -> Result:
    defaults = {
        "precision": "W8A8",
        "sqnr": 20.0,
        "agreement": 0.9,
        "bits": 8.0,
        "activations": 1.0,
        "cpu": 10.0,
        "seconds": 99.0,
    }
    return Result("toy", method, scores=(score,), **{**defaults, **facts})


def figures(*results: Result) -> dict[str, Figure]:
    return {figure.name.split(": ")[1]: figure for figure in Board(Toy(), (80.0,), results).figures()}


def test_ours_is_held_against_the_best_peer() -> None:
    found = figures(
        result("deepseek/int8", 79.6, sqnr=25.0), result("a/x", 79.9, sqnr=22.0, cpu=40.0), result("b/y", 79.0)
    )
    assert found["lost"].value == pytest.approx(0.5)
    assert found["lost"].holds
    assert found["behind the best peer"].value == pytest.approx(0.375)
    assert not found["behind the best peer"].holds
    assert found["behind the best peer"].note == "a/x"
    assert found["SQNR above every peer"].value == pytest.approx(3)
    assert found["time of the best peer"].value == pytest.approx(4)


def test_a_gain_over_fp32_is_chance_and_the_faster_of_equals_is_the_best() -> None:
    found = figures(result("deepseek/int8", 80.0), result("a/x", 80.4, cpu=90.0), result("b/y", 80.0, cpu=5.0))
    assert found["behind the best peer"].value == 0
    assert found["time of the best peer"].value == pytest.approx(0.5)


def test_a_peer_that_leaves_the_network_in_float_does_not_compete() -> None:
    found = figures(
        result("deepseek/int8", 79.0),
        result("a/weights", 80.0, bits=32.0),
        result("b/inputs", 80.0, activations=0.2),
        result("c/failed", error="out of memory"),
        result("d/other", 80.0, precision="W4A16"),
    )
    assert set(found) == {"lost"}


def test_more_than_one_percent_lost_is_missed() -> None:
    assert not figures(result("deepseek/int8", 79.1))["lost"].holds


def test_ours_in_float_is_no_result() -> None:
    found = figures(result("deepseek/int8", 80.0, bits=32.0), result("a/x"))
    assert not found["results"].holds


def test_weights_alone_compete_without_quantized_inputs() -> None:
    four = {"precision": "W4A16", "bits": 4.5, "activations": 0.0}
    found = figures(result("deepseek/int4", 79.5, **four), result("a/x", 79.0, **four))
    assert found["behind the best peer"].value < 0
    assert found["lost"].target is None


def test_summary_counts_networks() -> None:
    boards = [Board(Toy(), (80.0,), [result("deepseek/int8", sqnr=s), result("a/x")]) for s in (19.0, 21.0, 22.0)]
    (found,) = summary([figure for board in boards for figure in board.figures()])
    assert found.value == pytest.approx(2 / 3)
    assert found.note == "on 2 of 3 networks"


def test_the_table_has_a_row_for_every_result_failures_too() -> None:
    board = Board(Toy(), (80.0,), [result("a/x", 79.0), Result("toy", "b/y", "W8A8", error="no such op")])
    console = Console(width=140, record=True, quiet=True)
    with console.capture() as captured:
        console.print(board.table())
    _ = captured
    table = board.table()
    assert table.row_count == 2
    assert "no such op" in str(list(table.columns[2].cells)[1])
