"""`plan`, `profile`, the gates, streams and fallbacks, as a user asks for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from deepseek_core.registry import discover


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("DEEPSEEK_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def mlp_ds(deepseek, mlp: onnx.ModelProto, tmp_path: Path) -> Path:
    """The small network quantized for echo."""
    onnx.save(mlp, tmp_path / "mlp.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(1).standard_normal((64, 8)).astype(np.float32))
    quantize = ("quantize", tmp_path / "mlp.onnx", "--calib", tmp_path / "x.npy", "--target", "echo")
    assert deepseek(*quantize, "-o", tmp_path / "m.ds").code == 0
    return tmp_path / "m.ds"


PINS = ("--pin", "gemm_1=echo", "--pin", "gemm_2=cpu")


def test_a_plan_for_programs(deepseek, mlp_ds: Path) -> None:
    answer = deepseek("plan", mlp_ds, "--targets", "echo,cpu", *PINS, "--json")
    assert answer.code == 0, answer.err
    plan = answer.json
    units = {unit["name"]: unit for unit in plan["units"]}
    assert units["gemm_1"]["target"] == "echo:v1"
    assert units["gemm_1"]["why"].startswith("pinned here")
    assert units["gemm_1"]["cost"]["basis"] == "analytic"
    assert plan["value"] >= plan["bound"] > 0
    assert plan["gap"] is not None
    assert [part["target"].split(":")[0] for part in plan["parts"]] == ["echo", "cpu"]
    assert plan["transfers"][0]["bytes"] > 0
    assert {target["coverage"] for target in plan["targets"]} != {0.0}
    assert plan["alternatives"][0]["value"] == plan["value"]


def test_a_plan_for_people_and_its_pictures(deepseek, filled: Path, tmp_path: Path) -> None:
    files = ("--html", tmp_path / "p.html", "--svg", tmp_path / "p.svg")
    answer = deepseek("plan", filled / "model.ds", "--targets", "echo,cpu", *files)
    assert answer.code == 0, answer.err
    for text in (
        "for one inference",
        "no other target runs it",
        "what would change it",
        "fix the shapes",
        "lower bound",
    ):
        assert text in answer.out
    assert "<html" in (tmp_path / "p.html").read_text()
    assert "<svg" in (tmp_path / "p.svg").read_text()


@pytest.mark.parametrize("objective", ["latency", "throughput", "additive"])
@pytest.mark.parametrize("solver", ["auto", "exact", "fast", "priority"])
def test_solvers_and_objectives(deepseek, mlp_ds: Path, objective: str, solver: str) -> None:
    options = ("--objective", objective, "--solver", solver)
    answer = deepseek("plan", mlp_ds, "--targets", "echo,cpu,reference", *options, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["objective"] == objective
    assert answer.json["bound"] <= answer.json["value"] * (1 + 1e-9)


def test_minimum_cut(deepseek, mlp_ds: Path) -> None:
    answer = deepseek(
        "plan", mlp_ds, "--targets", "echo,cpu", "--solver", "mincut", "--objective", "additive", "--json"
    )
    assert answer.code == 0, answer.err


def test_gates_pass_or_fail_the_build(deepseek, mlp_ds: Path, tmp_path: Path) -> None:
    compiled = ("compile", mlp_ds, "--targets", "echo,cpu", *PINS, "-o", tmp_path / "c.ds")
    for gate, reason in (
        (("--min-coverage", "echo=0.9"), "echo:v1 runs 72.7% of the work, and 90.0% is asked"),
        (("--max-parts", "1"), "in at most 1 parts is possible"),
    ):
        answer = deepseek(*compiled, *gate)
        assert (answer.code, answer.out) == (1, "")
        (line,) = answer.err.splitlines()
        assert reason in line
        assert not (tmp_path / "c.ds").exists()
    passed = deepseek(*compiled, "--min-coverage", "echo=70%", "--max-parts", "2", "--json")
    assert passed.code == 0, passed.err
    assert passed.json["optimality"]["objective"] == "latency"


def test_a_plan_tells_the_gates_it_does_not_pass(deepseek, mlp_ds: Path) -> None:
    answer = deepseek("plan", mlp_ds, "--targets", "echo,cpu", *PINS, "--min-coverage", "echo=0.9")
    assert answer.code == 1
    assert "gate not passed: echo:v1 runs 72.7% of the work" in answer.out
    assert "'gemm_2'" in answer.out


def test_memory_limits_decide(deepseek, mlp_ds: Path) -> None:
    free = deepseek("plan", mlp_ds, "--targets", "cpu,reference", "--json").json
    assert free["targets"][0]["units"] == len(free["units"])
    tight = deepseek("plan", mlp_ds, "--targets", "cpu,reference", "--memory", "cpu=0.1KiB", "--json").json
    assert tight["targets"][0]["constants"] <= 102
    assert tight["targets"][0]["memory"] == 102


def test_profiles_become_plans(deepseek, mlp_ds: Path) -> None:
    found = deepseek("profile", mlp_ds, "--targets", "echo,cpu", "--threads", "0", "--json")
    assert found.code == 0, found.err
    assert [target["failed"] for target in found.json["targets"]] == [{}, {}]
    assert {(link["from"], link["to"]) for link in found.json["links"]} == {
        ("echo:v1", found.json["targets"][1]["target"]),
        (found.json["targets"][1]["target"], "echo:v1"),
    }
    plan = deepseek("plan", mlp_ds, "--targets", "echo,cpu", "--json").json
    assert plan["basis"] == "measured"
    assert deepseek("plan", mlp_ds, "--targets", "echo,cpu", "--no-profile", "--json").json["basis"] == "analytic"
    again = deepseek("profile", mlp_ds, "--targets", "echo,cpu", "--json").json
    assert all(target["measured"] == 0 for target in again["targets"])
    assert "predicted" in deepseek("profile", mlp_ds, "--targets", "echo", "--fresh").out


def test_streams(deepseek, filled: Path) -> None:
    answer = deepseek("bench", filled / "model.cpu.ds", "--repeat", 8, "--stream", "--depth", 3, "--json").json
    assert (answer["stream"]["inputs"], answer["stream"]["depth"]) == (8, 3)
    assert answer["stream"]["per_second"] > 0
    assert "under way" in deepseek("bench", filled / "model.cpu.ds", "--repeat", 3, "--stream").out
    assert deepseek("bench", filled / "model.cpu.ds", "--repeat", 3, "--json").json["stream"] is None


@pytest.fixture
def elsewhere(deepseek, filled: Path, tmp_path: Path) -> tuple[Path, str]:
    """A package for the kind of CPU that this machine does not have."""
    registry = discover()
    backend = registry.backend("cpu")
    other = next(target for target in backend.targets if not backend.probe(target).can_run)
    path = tmp_path / "other.ds"
    assert deepseek("compile", filled / "model.ds", "--targets", other, "-o", path).code == 0
    return path, str(other)


def test_a_target_that_is_declared_and_not_here(deepseek, filled: Path, elsewhere: tuple[Path, str]) -> None:
    package, target = elsewhere
    plan = deepseek("plan", filled / "model.ds", "--targets", target)
    assert plan.code == 0, plan.err
    assert "cannot run (no a " in plan.out
    ran = deepseek("run", package, "--random")
    assert ran.code == 2
    (line,) = ran.err.splitlines()
    assert f"{target} cannot run here" in line


def test_fallback_from_a_device_that_is_not_here(deepseek, elsewhere: tuple[Path, str]) -> None:
    package, target = elsewhere
    answer = deepseek("run", package, "--random", "--fallback", "cpu", "--json")
    assert answer.code == 0, answer.err
    (record,) = answer.json["fallbacks"]
    assert (record["lost"], record["device"]) == (target, None)
    assert "cannot run here" in record["reason"]
    assert answer.json["parts"][0]["moved"]
    assert "is given up" in deepseek("run", package, "--random", "--fallback", "cpu").out
