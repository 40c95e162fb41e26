"""Merging, hashing and storing calibration runs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from deepseek_core import CalibratorSpec, DType, QuantScheme, TensorRecipe
from deepseek_core.calibration import Calibration, TensorStats, activation_qparams
from deepseek_core.calibration.mse import Mse
from deepseek_core.errors import CalibrationError


@pytest.fixture
def calibration(stats_of):
    generator = np.random.default_rng(1)
    return Calibration(
        {
            "conv/out:0": stats_of(generator.normal(size=1000).astype(np.float32)),
            "ünïcode": stats_of(generator.exponential(9, 500).astype(np.float32)),
            "silent": stats_of(np.zeros(10, np.float32)),
            "unreached": TensorStats(),
        }
    )


def test_round_trip(calibration, tmp_path):
    path = tmp_path / "calibration.npz"
    calibration.save(path)
    loaded = Calibration.load(path)
    assert loaded == calibration
    assert list(loaded) == list(calibration)
    assert loaded.digest() == calibration.digest()
    assert loaded["silent"].merge(loaded["ünïcode"]).count == 510


def test_an_empty_calibration_round_trips(tmp_path):
    Calibration().save(tmp_path / "c")
    assert Calibration.load(tmp_path / "c") == Calibration()


def test_digest_ignores_the_order_of_names_and_sees_everything_else(calibration, stats_of):
    backwards = Calibration(dict(reversed(calibration.stats.items())))
    assert backwards.digest() == calibration.digest()
    digests = {calibration.digest()}
    for changed in (
        {"renamed" if n == "silent" else n: s for n, s in calibration.stats.items()},
        {**calibration.stats, "silent": stats_of(np.zeros(11, np.float32))},
        {**calibration.stats, "silent": stats_of(np.full(10, 1e-42, np.float32))},
        {n: s for n, s in calibration.stats.items() if n != "unreached"},
    ):
        digests.add(Calibration(changed).digest())
    assert len(digests) == 5


def test_merge_adds_shards_and_unites_groups(stats_of):
    generator = np.random.default_rng(0)
    a, b, c = (generator.normal(0, s, 100).astype(np.float32) for s in (1, 50, 2))
    merged = Calibration({"x": stats_of(a)}).merge(Calibration({"x": stats_of(b), "y": stats_of(c)}))
    assert merged == Calibration({"x": stats_of(a, b), "y": stats_of(c)})
    assert merged.digest() == Calibration({"y": stats_of(c), "x": stats_of(b, a)}).digest()


def test_an_unknown_tensor_is_named(calibration):
    assert "nowhere" not in calibration
    with pytest.raises(CalibrationError, match="'nowhere' was not calibrated"):
        calibration["nowhere"]


def test_a_missing_file_or_a_folder(tmp_path):
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(CalibrationError, match="cannot read"):
            Calibration.load(path)


def test_a_newer_format_is_refused_by_number(calibration, tmp_path):
    path = tmp_path / "c.npz"
    calibration.save(path)
    with np.load(path) as data:
        arrays = dict(data)
    header = json.loads(arrays["header"].tobytes()) | {"format": 2}
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(CalibrationError, match="is calibration format 2, this version reads 1"):
        Calibration.load(path)


@pytest.mark.parametrize(
    ("member", "change"),
    [
        ("counts", lambda a: a + 1),
        ("counts", lambda a: a[:, :, :7]),
        ("range", lambda a: a * 1.5),
        ("range", lambda a: a.astype(np.float32)),
        ("integers", lambda a: a[:-1]),
        ("integers", lambda a: a - 1),
        ("header", lambda a: a[:-3]),
        ("header", lambda _: np.frombuffer(b"[1, 2]", np.uint8)),
        ("header", lambda _: np.array(["text"])),
    ],
)
def test_inconsistent_content_is_refused(calibration, tmp_path, member, change):
    path = tmp_path / "c.npz"
    calibration.save(path)
    with np.load(path) as data:
        arrays = dict(data)
    np.savez(path, **{**arrays, member: change(arrays[member])})
    with pytest.raises(CalibrationError, match="not an intact calibration file"):
        Calibration.load(path)


def test_pickles_are_never_opened(tmp_path):
    path = tmp_path / "c.npz"
    members = {name: np.array([{}], object) for name in ("header", "integers", "range", "counts")}
    np.savez(path, allow_pickle=True, **members)
    with pytest.raises(CalibrationError, match="allow_pickle"):
        Calibration.load(path)


def test_mutated_files_are_refused_or_read_right(calibration, tmp_path):
    """Seeded damage of every kind: one line with the fix, or the very same content; nothing else."""
    path = tmp_path / "c.npz"
    calibration.save(path)
    intact = path.read_bytes()
    generator = np.random.default_rng(7)
    refused = 0
    for _ in range(1000):
        data = bytearray(intact)
        match generator.integers(4):
            case 0:
                data = data[: generator.integers(len(data))]
            case 1:
                for at in generator.integers(len(data), size=3):
                    data[at] = generator.integers(256)
            case 2:
                at, length = generator.integers(len(data)), generator.integers(1, 40)
                del data[at : at + length]
            case 3:
                at = generator.integers(len(data))
                data[at:at] = generator.bytes(int(generator.integers(1, 40)))
        path.write_bytes(data)
        answer = _load_or_error(path)
        refused += isinstance(answer, str)
        assert "\n" not in answer if isinstance(answer, str) else answer == calibration
    assert refused > 800


def _load_or_error(path):
    try:
        return Calibration.load(path)
    except CalibrationError as error:
        return str(error)


def test_an_interrupted_save_keeps_the_old_file(calibration, tmp_path, monkeypatch):
    path = tmp_path / "c.npz"
    calibration.save(path)
    before = path.read_bytes()

    def interrupted(file, **_arrays):
        file.write(b"PK half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Calibration().save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.npz"]


def test_calibrators_of_the_core_are_asked_once_and_a_backends_each_time(calibration, monkeypatch):
    asked = []

    class Own:
        def range(self, stats, scheme):
            asked.append("own")
            return -1.0, 1.0

    known = Mse.range
    monkeypatch.setattr(Mse, "range", lambda *given: (asked.append("mse"), known(*given))[1])
    scheme = QuantScheme(DType.UINT8)
    names = [name for name in calibration if calibration[name].count]
    for name in names:
        mse = TensorRecipe(scheme, CalibratorSpec("mse"))
        first, second = (calibration.qparams(name, mse) for _ in range(2))
        assert first.equals(second)
        assert first.equals(activation_qparams(calibration[name], mse))
    assert asked.count("mse") == 2 * len(names)
    for _ in range(2):
        own = TensorRecipe(scheme, CalibratorSpec("npu:own"))
        assert calibration.range(names[0], own, {"npu:own": Own}) == (-1.0, 1.0)
    assert asked.count("own") == 2
