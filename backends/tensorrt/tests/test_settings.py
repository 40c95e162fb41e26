"""Options as the command line gives them."""

import pytest

from deepseek_backend_tensorrt.devices import ARCHITECTURES, architecture_of, fits
from deepseek_backend_tensorrt.settings import Settings
from deepseek_core import Target
from deepseek_core.errors import ConfigError, TargetError


def test_every_option_is_read() -> None:
    found = Settings.read(
        {
            "builder": "rtx",
            "precision": "float16",
            "kernels": "weights",
            "level": "3",
            "workspace": "2G",
            "profile": "x:1x3,2x3,4x3;n:1,1,1|x:8x3,8x3,8x3;n:1,2,3",
            "version_compatible": "on",
            "cache": "off",
            "without": "cublas, CUDNN",
            "min_int8": "0.95",
            "lanes": "4",
            "graphs": "off",
        }
    )
    assert found.workspace == 2 << 30
    assert found.profile[0] == {"x": ((1, 3), (2, 3), (4, 3)), "n": ((1,), (1,), (1,))}
    assert found.profile[1]["n"] == ((1,), (2,), (3,))
    assert found.without == ("CUBLAS", "CUDNN")
    assert (found.version_compatible, found.cache, found.graphs) == (True, False, False)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("speed", "fast", "no option 'speed'"),
        ("builder", "gcc", "choose auto, tensorrt, rtx"),
        ("precision", "int8", "float16"),
        ("kernels", "all", "weights"),
        ("level", "6", "0 to 5"),
        ("level", "high", "0 to 5"),
        ("workspace", "much", "512M"),
        ("profile", "x", "SMALLEST,USUAL,LARGEST"),
        ("profile", "x:2,1,3", "SMALLEST,USUAL,LARGEST"),
        ("profile", "x:1,2", "SMALLEST,USUAL,LARGEST"),
        ("cache", "yes", "on or off"),
        ("min_int8", "95", "between 0 and 1"),
        ("min_int8", "most", "between 0 and 1"),
        ("lanes", "0", "1 to 64"),
    ],
)
def test_what_there_is_not_is_told_with_what_there_is(name, value, said) -> None:
    with pytest.raises(ConfigError) as error:
        Settings.read({name: value})
    assert said in str(error.value)


def test_the_environment_gives_options_that_a_compilation_may_change(monkeypatch) -> None:
    monkeypatch.setenv("DEEPSEEK_TENSORRT_OPTIONS", "level=1 without=CUBLAS")
    assert (Settings.read({}).level, Settings.read({"level": "4"}).level) == (1, 4)
    assert Settings.read({}).without == ("CUBLAS",)


def test_targets_know_what_they_run_on() -> None:
    assert architecture_of(Target("tensorrt", "sm_89")).short == "SM89"
    ampere = Target("tensorrt", "sm_80", ("ampere",))
    assert [fits(ampere, c) for c in ((7, 5), (8, 0), (8, 9), (12, 0))] == [False, True, True, True]
    assert not fits(Target("tensorrt", "sm_75", ("ampere",)), (8, 6))
    assert not fits(Target("tensorrt", "sm_80"), (8, 6))
    with pytest.raises(TargetError, match="'turbo' is no feature"):
        architecture_of(Target("tensorrt", "sm_80", ("turbo",)))
    with pytest.raises(TargetError, match="tensorrt:sm_120"):
        architecture_of(Target("tensorrt", "sm_99"))


def test_float8_is_for_ada_and_later(registry) -> None:
    backend = registry.backend("tensorrt")
    for name, architecture in ARCHITECTURES.items():
        rules = backend.capabilities(Target("tensorrt", name)).rules
        assert any("float8" in str(rule.activation) for rule in rules) == (architecture.capability >= (8, 9)), name
        assert all("asymmetric" not in str((rule.activation, rule.weight, rule.output)) for rule in rules), name
