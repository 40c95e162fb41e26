from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantization import result as results
from quantization.cache import VARIABLE, build, code
from quantization.judge import judge
from quantization.methods import Method
from quantization.networks import prepared
from quantization.networks.base import (
    CALIBRATION,
    EVALUATION,
    MODEL,
    TRUTH,
    Answers,
    Array,
    Metric,
    Network,
    save_samples,
)
from quantization.networks.custom import Custom
from quantization.result import Limits, known, obtain

pytest.importorskip("onnxruntime")

X = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)


def linear(weights: np.ndarray, path: Path) -> Path:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in "xy")
    w = numpy_helper.from_array(weights.astype(np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [w])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


class Linear(Network):
    name, title, metrics = "linear", "Linear", (Metric("top-1 %"),)

    def prepare(self, folder: Path) -> None:
        linear(np.eye(3), folder / MODEL)
        save_samples(folder / CALIBRATION, ({"x": row[None]} for row in X[:8]))
        save_samples(folder / EVALUATION, ({"x": row[None]} for row in X[8:]))
        np.savez(folder / TRUTH, labels=X[8:].argmax(1))

    def scores(self, answers: Answers, truth: Mapping[str, Array]) -> tuple[float, ...]:
        return (100 * float(np.mean(np.concatenate(answers).argmax(1) == truth["labels"])),)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_float_network_agrees_with_itself() -> None:
    network = Linear()
    ready = prepared(network)
    assert judge(network, ready, ready.model) == {"scores": [100.0], "agreement": 1.0, "sqnr": float("inf")}


def test_another_network_is_found_out(tmp_path: Path) -> None:
    network = Linear()
    verdict = judge(network, prepared(network), linear(1.1 * np.eye(3)[:, [1, 0, 2]], tmp_path / "m.onnx"))
    assert verdict["scores"] == [100 * verdict["agreement"]]
    assert verdict["agreement"] < 0.6
    assert verdict["sqnr"] < 3


def test_nothing_but_finite_outputs_passes(tmp_path: Path) -> None:
    network = Linear()
    with pytest.raises(ValueError, match="not finite"):
        judge(network, prepared(network), linear(np.full((3, 3), np.inf), tmp_path / "m.onnx"))


class Script(Method):
    """A quantizer in this environment, from a line of Python; counts its runs in a file beside its output."""

    def key(self) -> str:
        return self.arguments[0]

    def command(self, model: Path, samples: Path, output: Path) -> list[str]:
        import sys

        line = f"import shutil, sys; open({str(output.parent / 'runs')!r}, 'a').write('x'); {self.arguments[0]}"
        return [sys.executable, "-c", line, str(model), str(samples), str(output)]


COPY = Script("copy/float", "W8A8", "script", ("shutil.copy(sys.argv[1], sys.argv[3])",))
FAIL = Script("fail/always", "W8A8", "script", ("sys.exit('unsupported op')",))
BREAK = Script("break/model", "W8A8", "script", ("open(sys.argv[3], 'w').write('no model')",))


def test_a_result_is_obtained_once(cache: Path) -> None:
    network = Linear()
    ready = prepared(network)
    assert not known(network, ready, COPY)
    first = obtain(network, ready, COPY, Limits())
    assert known(network, ready, COPY)
    assert obtain(network, ready, COPY, Limits()) == first
    assert (cache / "models" / "runs").read_text() == "x"
    assert first.scores == (100.0,)
    assert (first.bits, first.competes) == (32, False)
    obtain(network, ready, COPY, Limits(), fresh=True)
    assert (cache / "models" / "runs").read_text() == "xx"


def test_a_model_that_the_cache_lost_is_made_again(cache: Path) -> None:
    network = Linear()
    ready = prepared(network)
    first = obtain(network, ready, COPY, Limits())
    next((cache / "models").glob("*.onnx")).unlink()
    assert not known(network, ready, COPY)
    assert obtain(network, ready, COPY, Limits()).scores == first.scores


def test_failures_are_results() -> None:
    network = Linear()
    ready = prepared(network)
    assert obtain(network, ready, FAIL, Limits()).error == "unsupported op"
    broken = obtain(network, ready, BREAK, Limits()).error
    assert broken is not None
    assert broken.startswith("judge: ")


class Homeless(Script):
    """A quantizer whose environment cannot be made."""

    def command(self, model: Path, samples: Path, output: Path) -> list[str]:
        raise RuntimeError("environment 'homeless': no such version")


def test_a_missing_environment_is_told_and_not_kept() -> None:
    network, method = Linear(), Homeless("homeless/x", "W8A8", "script", ("",))
    ready = prepared(network)
    assert obtain(network, ready, method, Limits()).error == "environment 'homeless': no such version"
    assert not known(network, ready, method)


def test_a_peer_that_writes_into_its_input_spoils_a_copy() -> None:
    network = Linear()
    ready = prepared(network)
    spoil = Script("spoil/input", "W8A8", "script", ("open(sys.argv[1], 'w'); sys.exit('sorry')",))
    before = ready.model.read_bytes()
    assert obtain(network, ready, spoil, Limits()).error == "sorry"
    assert ready.model.read_bytes() == before


def test_a_new_judge_judges_again_and_quantizes_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Linear()
    ready = prepared(network)
    obtain(network, ready, COPY, Limits())
    monkeypatch.setattr(results, "_JUDGE", results._JUDGE[:1])
    obtain(network, ready, COPY, Limits())
    assert (cache / "models" / "runs").read_text() == "x"
    assert len(list((cache / "verdicts").iterdir())) == 2


def folder(path: Path, rows: np.ndarray) -> Path:
    path.mkdir()
    for index, row in enumerate(rows):
        np.save(path / f"{index}.npy", row[None])
    return path


def test_a_network_of_the_users_own_with_labels(tmp_path: Path) -> None:
    calibration, evaluation = folder(tmp_path / "c", X[:4]), folder(tmp_path / "e", X[4:9])
    rows = "".join(f"{i}.npy,{row.argmax()}\n" for i, row in enumerate(X[4:9]))
    (evaluation / "labels.csv").write_text("file,class_index\n" + rows)
    network = Custom(linear(np.eye(3), tmp_path / "own.onnx"), calibration, evaluation)
    ready = prepared(network)
    assert judge(network, ready, ready.model)["scores"] == [100.0]
    assert len(list(ready.calibration.iterdir())) == 4


def test_without_labels_cosine_similarity_with_fp32_counts(tmp_path: Path) -> None:
    network = Custom(
        linear(np.eye(3), tmp_path / "own.onnx"), folder(tmp_path / "c", X[:4]), folder(tmp_path / "e", X[4:9])
    )
    ready = prepared(network)
    assert judge(network, ready, ready.model)["scores"] == [pytest.approx(100)]
    flipped = judge(network, ready, linear(-np.eye(3), tmp_path / "m.onnx"))
    assert flipped["scores"] == [pytest.approx(-100)]


def test_a_label_for_every_sample_is_needed(tmp_path: Path) -> None:
    evaluation = folder(tmp_path / "e", X[:2])
    (evaluation / "labels.csv").write_text("file,class_index\n0.npy,1\n")
    network = Custom(linear(np.eye(3), tmp_path / "own.onnx"), folder(tmp_path / "c", X[:2]), evaluation)
    with pytest.raises(RuntimeError, match=r"1\.npy"):
        prepared(network)


def test_changed_samples_are_prepared_again(tmp_path: Path) -> None:
    calibration, evaluation = folder(tmp_path / "c", X[:4]), folder(tmp_path / "e", X[4:9])
    model = linear(np.eye(3), tmp_path / "own.onnx")
    before = prepared(Custom(model, calibration, evaluation))
    np.save(evaluation / "0.npy", X[20:21])
    assert prepared(Custom(model, calibration, evaluation)).task != before.task


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def make(draft: Path) -> None:
        (draft / "half").write_text("")
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        build(tmp_path / "whole", make)
    assert list(tmp_path.glob("*whole*")) == []


def test_code_digests_ignore_comments_and_see_changes(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    digests = []
    for text in ("x = 1\n", "x  =  1  # one\n", "x = 2\n"):
        file.write_text(text)
        digests.append(code([file]))
    assert digests[0] == digests[1] != digests[2]
