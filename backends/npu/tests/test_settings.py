"""Options: what a user may choose, and the one line for what there is not."""

import pytest

from deepseek_backend_npu.devices import DEVICES, MEMORY_MODES, SYSTEMS, device_of
from deepseek_backend_npu.settings import Settings
from deepseek_core import Target
from deepseek_core.errors import ConfigError, TargetError

U55 = DEVICES["ethos-u55-128"]


def test_defaults_are_the_devices() -> None:
    for device in DEVICES.values():
        settings = Settings.read({}, device)
        assert SYSTEMS[settings.system].family == device.family
        assert device.family in MEMORY_MODES[settings.memory]


def test_auto_stands_for_every_choice_defaults_first() -> None:
    candidates = Settings.read({}, U55).candidates()
    assert len(candidates) == len(set(candidates)) == 4
    assert (candidates[0].optimize, candidates[0].cascading, candidates[0].buffering) == ("performance", "on", "on")


def test_a_choice_leaves_fewer_candidates() -> None:
    chosen = Settings.read({"optimize": "Size", "cascading": "off"}, U55)
    assert {(c.optimize, c.cascading) for c in chosen.candidates()} == {("size", "off")}
    assert {c.buffering for c in chosen.candidates()} == {"on", "off"}


def test_less_memory_is_tried_unless_a_limit_is_set() -> None:
    settings = Settings.read({}, U55).below(200 * 1024)
    assert settings is not None
    assert 0 < settings.sram < 200 * 1024
    assert Settings.read({}, U55).below(16) is None
    assert Settings.read({"sram": "64K"}, U55).below(200 * 1024) is None
    every = {"optimize": "size", "cascading": "on", "buffering": "on"}
    assert Settings.read(every, U55).below(200 * 1024) is None


def test_a_name_says_which_compilation_it_was() -> None:
    settings = Settings.read({}, U55)
    for candidate in (*settings.candidates(), settings.below(1 << 20)):
        assert candidate is not None
        assert settings.named(candidate.name) == candidate
    assert settings.named("warp speed") is None


@pytest.mark.parametrize(("text", "size"), [("1000", 1000), ("384K", 384 * 1024), ("2MiB", 2 << 20), ("0", 0)])
def test_sizes(text, size) -> None:
    assert Settings.read({"sram": text}, U55).sram == size


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"speed": "fast"}, "no option 'speed'"),
        ({"system": "Ethos_U65_High_End"}, "Ethos_U65_High_End"),
        ({"memory": "Dedicated_Sram"}, "Dedicated_Sram"),
        ({"optimize": "everything"}, "everything"),
        ({"sram": "many"}, "many"),
        ({"sram": "-1"}, "-1"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(extra, said) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Settings.read(extra, U55)
    assert caught.value.fix


def test_every_variant_is_emulated_unless_the_reference_is_asked_for() -> None:
    for device in DEVICES.values():
        assert Settings.read({"tier": "reference"}, device).tier == "reference"
    with pytest.raises(ConfigError, match="silicon"):
        Settings.read({"tier": "silicon"}, U55)


def test_unknown_variants_and_features_are_target_errors() -> None:
    with pytest.raises(TargetError, match="ethos-u99"):
        device_of(Target("npu", "ethos-u99"))
    with pytest.raises(TargetError, match="sparse"):
        device_of(Target("npu", "ethos-u55-128", ("sparse",)))
