"""compile(): from a model to a package."""

import numpy as np
import pytest

from deepseek_core.errors import BackendError, ConfigError, PlacementError, TargetError
from deepseek_core.options import CompileOptions
from deepseek_core.package import Package
from deepseek_core.partition import PreferenceSolver
from deepseek_core.passes import Pass
from deepseek_core.pipeline import compile
from deepseek_core.runtime import Session
from deepseek_core.target import Target


def test_package(tmp_path, fake, registry_of, diamond):
    registry = registry_of(fake("npu", ("Relu", "Add"), requires=("fast",)), fake("cpu"))
    options = CompileOptions(optimize=0, threads=3, extra={"npu.a": "b"})
    package = compile(
        diamond, ["npu", Target("cpu", "host")], registry=registry, solver=PreferenceSolver(), options=options
    )
    package.save(tmp_path / "a.ds")
    opened = Package.open(tmp_path / "a.ds")
    assert opened.placement == package.placement
    assert opened.placement.parts == (("relu0",), ("erf1",), ("add2",))
    assert [str(a.target) for a in opened.artifacts] == ["npu:host", "cpu:host", "npu:host"]
    assert opened.artifacts[0].requires == ("fast",)
    assert (opened.options.optimize, opened.options.threads, opened.options.extra) == (0, 3, {"npu.a": "b"})
    assert opened.model.metadata == {"source_sha256": "00"}
    assert opened.model.digest() == diamond.digest()


def test_progress(fake, registry_of, diamond):
    seen = []
    registry = registry_of(fake("npu", ("Relu", "Add")), fake("cpu"))
    compile(
        diamond,
        ["npu", "cpu"],
        registry=registry,
        solver=PreferenceSolver(),
        options=CompileOptions(progress=lambda what, fraction: seen.append((what, fraction))),
    )
    assert seen[0] == ("place", 0.0)
    assert seen[2] == ("compile part 2 of 3 for cpu:host", 1 / 3)
    assert seen[-1][1] == 1.0
    assert [fraction for _, fraction in seen] == sorted(fraction for _, fraction in seen)


def test_pins(fake, registry_of, diamond):
    registry = registry_of(fake("npu", ("Relu", "Add")), fake("cpu"))
    package = compile(diamond, ["npu", "cpu"], registry=registry, solver=PreferenceSolver(), pins={"add2": "cpu"})
    assert [str(a.target) for a in package.artifacts] == ["npu:host", "cpu:host"]


def test_errors(fake, registry_of, diamond):
    registry = registry_of(fake("npu", ("Relu", "Add")), fake("cpu"))
    with pytest.raises(PlacementError, match=r"'erf1' \(Erf\) \[npu:host: no rule for Erf"):
        compile(diamond, ["npu"], registry=registry)
    with pytest.raises(TargetError, match="no backend 'dsp'"):
        compile(diamond, ["dsp"], registry=registry)
    with pytest.raises(ConfigError, match="tap on 'nowhere'"):
        compile(diamond, ["cpu"], registry=registry, options=CompileOptions(taps=("nowhere",)))


def test_each_backend_gets_its_own_options(fake, registry_of, diamond):
    given = []

    def listening(name, *ops):
        backend = fake(name, ops)
        original = backend.compile

        def heard(model, target, options):
            given.append((name, options.extra))
            return original(model, target, options)

        backend.compile = heard
        return backend

    registry = registry_of(listening("npu", "Relu", "Add"), listening("cpu"), listening("gpu"))
    extra = {"npu.a": "1", "npu.b.c": "2", "cpu.a": "3", "gpu.a": "4"}
    package = compile(
        diamond,
        ["npu", "cpu", "gpu"],
        registry=registry,
        solver=PreferenceSolver(),
        options=CompileOptions(extra=extra),
    )
    assert given == [("npu", {"a": "1", "b.c": "2"}), ("cpu", {"a": "3"}), ("npu", {"a": "1", "b.c": "2"})]
    assert package.options.extra == {"npu.a": "1", "npu.b.c": "2", "cpu.a": "3"}
    compile(diamond, ["npu", "cpu"], registry=registry, solver=PreferenceSolver(), options=package.options)
    assert given[3:] == given[:3]


@pytest.mark.parametrize(
    ("key", "example"), [("a", "npu.a"), ("gpu.a", "npu.a"), ("npu", "npu.npu"), (".a", "npu.a"), ("np.a", "npu.a")]
)
def test_options_for_nobody(fake, registry_of, diamond, key, example):
    registry = registry_of(fake("npu", ("Relu", "Add")), fake("cpu"), fake("gpu"))
    with pytest.raises(ConfigError, match=rf"'{key}' is for none of the chosen backends \(npu, cpu\)") as caught:
        compile(
            diamond,
            ["npu", "cpu"],
            registry=registry,
            solver=PreferenceSolver(),
            options=CompileOptions(extra={key: "1"}),
        )
    assert caught.value.fix == f"write it as backend.name, for example {example}"


class Rename(Pass):
    """A pass that needs canonical form, and may break the interface."""

    requires = frozenset({"canonical"})

    def __init__(self, output):
        self.output = output

    def run(self, model):
        model.graph.node(0).doc_string = "legalised"
        if self.output:
            model.graph.outputs[0].name = self.output
        return True


def test_backend_passes_run_on_each_part(fake, registry_of, diamond):
    npu = fake("npu", ("Relu", "Add"), passes=(Rename(None),))
    registry = registry_of(npu, fake("cpu"))
    package = compile(diamond, ["npu", "cpu"], registry=registry, solver=PreferenceSolver())
    assert [b"legalised" in a.payload for a in package.artifacts] == [True, False, True]
    assert not diamond.graph.node(0).doc_string
    with Session(package, registry) as session:
        assert session.run({"x": np.ones((1, 3), np.float32)})["y"].shape == (1, 3)


def test_passes_must_keep_the_interface(fake, registry_of, diamond):
    registry = registry_of(fake("cpu", passes=(Rename("other"),)))
    with pytest.raises(BackendError, match="its passes change the inputs or outputs of part0_cpu"):
        compile(diamond, ["cpu"], registry=registry)


def test_artifact_for_another_target(fake, registry_of, diamond):
    cpu = fake("cpu")
    original = cpu.compile
    cpu.compile = lambda model, _, options: original(model, Target("cpu", "other"), options)
    with pytest.raises(BackendError, match="it compiled part0_cpu for cpu:other when asked for cpu:host"):
        compile(diamond, ["cpu"], registry=registry_of(cpu))
