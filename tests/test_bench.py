import pytest

from deepseek_core.bench import Latency, measure
from deepseek_core.errors import ConfigError


def test_every_run_is_made_and_only_the_timed_ones_count() -> None:
    calls, told = [], []

    def tell(what: str, fraction: float) -> None:
        told.append((what, fraction))

    latency = measure(lambda: calls.append(1), repeat=5, warmup=3, progress=tell)
    assert (len(calls), len(latency.seconds)) == (8, 5)
    assert told == [("timing", share) for share in (0.2, 0.4, 0.6, 0.8, 1.0)]
    assert all(second >= 0 for second in latency.seconds)


def test_percentiles_lie_between_the_runs() -> None:
    latency = Latency((4.0, 1.0, 3.0, 2.0, 5.0))
    assert (latency.minimum, latency.median, latency.mean) == (1.0, 3.0, 3.0)
    assert latency.percentile(100) == 5.0
    assert latency.percentile(75) == 4.0


@pytest.mark.parametrize("wrong", [{"repeat": 0}, {"warmup": -1}])
def test_impossible_numbers_of_runs(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        measure(lambda: None, **wrong)
