from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from deepseek_backend_cpu import host
from deepseek_backend_cpu.capabilities import TARGETS, capabilities
from deepseek_backend_cpu.session import import_runtime
from deepseek_core import DType, Granularity, QuantScheme, Target, Tier
from deepseek_core.errors import BackendError


def test_this_machine_is_the_default_target(cpu, monkeypatch) -> None:
    assert cpu.backend.targets[0].device == host.architecture()
    from deepseek_backend_cpu import plugin

    for target in TARGETS:
        monkeypatch.setattr(host, "architecture", lambda target=target: target.device)
        assert plugin.deepseek_backend().targets[0] == target


def test_the_probe_finds_the_machine(cpu) -> None:
    here = cpu.backend.probe(cpu.target)
    assert here.can_compile
    assert here.can_run
    assert here.tier is Tier.DEVICE
    assert here.toolchain["onnxruntime"] == host.runtime_version()
    assert not here.missing


def test_the_probe_says_how_to_get_the_runtime(cpu, monkeypatch) -> None:
    monkeypatch.setattr(host, "runtime_version", lambda: None)
    here = cpu.backend.probe(cpu.target)
    assert not here.can_run
    assert [(m.what, m.fix) for m in here.missing] == [("onnxruntime", "pip install onnxruntime")]


def test_the_probe_knows_a_foreign_machine(cpu) -> None:
    other = next(t for t in cpu.backend.targets if t.device != host.architecture())
    here = cpu.backend.probe(other)
    assert here.can_compile
    assert not here.can_run
    assert other.device in here.missing[0].what


def test_the_probe_names_missing_features(cpu) -> None:
    here = cpu.backend.probe(Target("cpu", host.architecture(), ("teleport",)))
    assert not here.can_run
    assert "teleport" in here.missing[0].what


def test_a_folder_of_that_name_is_no_runtime(monkeypatch, tmp_path) -> None:
    (tmp_path / "onnxruntime").mkdir()
    for name in [n for n in sys.modules if n.split(".")[0] == "onnxruntime"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()
    assert host.runtime_version() is None
    with pytest.raises(BackendError, match="not ONNX Runtime"):
        import_runtime()


def test_a_missing_runtime_is_an_error_with_the_command(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match="pip install onnxruntime"):
        import_runtime()


def test_features_are_words_a_target_can_have() -> None:
    for feature in host.features():
        assert Target.parse(f"cpu:x86_64+{feature}").features == (feature,)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_the_first_rule_is_the_preferred_scheme(target) -> None:
    table = capabilities(target)
    for op in ("Conv", "Gemm", "MatMul"):
        rule = table.rules_for(op)[0]
        assert rule.activation == rule.output == QuantScheme(DType.UINT8)
        assert rule.weight == QuantScheme(DType.INT8, Granularity.PER_CHANNEL, symmetric=True)
    assert table.any_float
    assert table.control_flow
    assert table.dynamic_shapes


def test_dot_product_instructions_count_in_the_roofline() -> None:
    slow, fast = (capabilities(Target("cpu", "x86_64", f)).peak_macs for f in ((), ("avx512_vnni",)))
    assert fast > 2 * slow


def test_importing_the_plugin_is_light() -> None:
    script = "import sys, deepseek_backend_cpu.plugin as p; p.deepseek_capabilities(p.deepseek_backend().targets[0]);"
    script += "p.deepseek_probe(p.deepseek_backend().targets[0]); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"onnxruntime", "onnx", "onnx_ir", "numpy"} & set(loaded)
