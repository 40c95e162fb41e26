"""Atomic writes: whatever interrupts them, the old file is intact."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from deepseek_core.atomic import atomic_write, check_writable
from deepseek_core.errors import DeepseekError, StorageError


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.endswith(".tmp")]


def script(text: str, *args: object, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [*prefix, sys.executable, "-c", textwrap.dedent(text), *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_creates_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for data in (b"one", b"two, which is longer", b""):
        with atomic_write(path) as file:
            file.write(data)
        assert path.read_bytes() == data
    assert not leftovers(tmp_path)


def test_text_is_utf8(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a.txt", "w") as file:
        file.write("σ ≤ 1\n")
    assert (tmp_path / "a.txt").read_bytes() == "σ ≤ 1\n".encode()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError, OSError])
def test_exception_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail() -> None:
        with atomic_write(path) as file:
            file.write(b"x" * 1_000_000)
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"old"
    assert not leftovers(tmp_path)


def test_old_file_is_there_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_permissions(tmp_path: Path) -> None:
    kept, fresh = tmp_path / "kept", tmp_path / "fresh"
    kept.touch()
    kept.chmod(0o640)
    before = os.umask(0o027)
    try:
        for path in (kept, fresh):
            with atomic_write(path) as file:
                file.write(b"x")
    finally:
        os.umask(before)
    assert kept.stat().st_mode & 0o777 == 0o640
    assert fresh.stat().st_mode & 0o777 == 0o640


def test_follows_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_long_name(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    with atomic_write(path) as file:
        file.write(b"x")
    assert path.read_bytes() == b"x"


@pytest.mark.parametrize("name", ["missing/a.bin", ".", "file/a.bin"])
def test_impossible_path_is_a_user_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError) as caught, atomic_write(tmp_path / name):
        pytest.fail("the file must not open")
    assert "\n" not in str(caught.value)
    assert caught.value.fix


def test_device_is_not_replaced() -> None:
    with pytest.raises(StorageError), atomic_write("/dev/null"):
        pytest.fail("the file must not open")
    assert not Path("/dev/null").is_file()


def test_error_about_another_file_passes_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a.bin"):
        (tmp_path / "input").read_bytes()
    assert not leftovers(tmp_path)


def test_no_space_left(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fill() -> None:
        with atomic_write(path) as file, Path("/dev/full").open("wb", buffering=0) as full:
            file.write(b"new")
            full.write(b"x")

    with pytest.raises(DeepseekError, match=r"No space left.*free space"):
        fill()
    assert path.read_bytes() == b"old"
    assert not leftovers(tmp_path)


WRITE_TOO_MUCH = """
    import sys
    from deepseek_core.atomic import atomic_write
    from deepseek_core.errors import DeepseekError
    {setup}
    try:
        with atomic_write(sys.argv[1]) as file:
            file.write(b"x" * {size})
    except DeepseekError as error:
        print(error)
"""


@pytest.mark.parametrize("size", [5_000, 1_000_000], ids=["fails-on-flush", "fails-on-write"])
def test_file_size_limit(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    out, err = script(WRITE_TOO_MUCH.format(setup=limit, size=size), path).communicate()
    assert "File too large; free space" in out, err
    assert out.count("\n") == 1
    assert path.read_bytes() == b"old"
    assert not leftovers(tmp_path)


def test_full_disk(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=64k none {tmp_path}"
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "sh", "-c", mount], check=False).returncode:
        pytest.skip("this machine does not let a user mount a tmpfs")
    steps = f'{mount} && echo -n old > {tmp_path}/a && "$@"; cat {tmp_path}/a; ls -A {tmp_path} | wc -l'
    prefix = (unshare, "-rm", "sh", "-c", steps, "sh")
    out, err = script(WRITE_TOO_MUCH.format(setup="", size=1_000_000), tmp_path / "a", prefix=prefix).communicate()
    message, rest = out.split("\n", 1)
    assert "No space left on device; free space" in message, err
    assert rest.split() == ["old1"]


WRITE_FOREVER = """
    import hashlib, os, sys
    from deepseek_core.atomic import atomic_write
    print("ready", flush=True)
    while True:
        data = os.urandom(200_000)
        with atomic_write(sys.argv[1]) as file:
            file.write(hashlib.sha256(data).digest())
            file.write(data)
"""


def test_kill_at_random_moments(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    rng = random.Random(7)
    versions = set()
    for _ in range(20):
        with script(WRITE_FOREVER, path) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(rng.uniform(0.005, 0.05))
            child.send_signal(signal.SIGKILL)
        if path.exists():
            content = path.read_bytes()
            assert hashlib.sha256(content[32:]).digest() == content[:32]
            versions.add(content[:32])
    assert len(versions) > 1


def test_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with script(WRITE_FOREVER, path) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.05)
        child.send_signal(signal.SIGINT)
    assert child.returncode in (1, -signal.SIGINT)
    assert not leftovers(tmp_path)


WRITE_AND_WAIT = """
    import sys, time
    from deepseek_core.atomic import atomic_write
    with atomic_write(sys.argv[1]) as file:
        file.write(b"x" * 100_000)
        print("written", flush=True)
        time.sleep(20)
"""


def age(folder: Path, hours: float) -> None:
    for name in leftovers(folder):
        os.utime(folder / name, (time.time() - hours * 3600,) * 2)


def test_what_a_killed_writer_left_is_swept_after_an_hour(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with script(WRITE_AND_WAIT, path) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    (left,) = leftovers(tmp_path)
    check_writable(path)
    assert leftovers(tmp_path) == [left]
    age(tmp_path, hours=1.1)
    for other in ("b.bin", "a", "a.bin.b", "..bin"):
        check_writable(tmp_path / other)
    assert leftovers(tmp_path) == [left]
    check_writable(path)
    assert not leftovers(tmp_path)
    assert path.read_bytes() == b"old"


def test_living_writer_is_not_swept(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with script(WRITE_AND_WAIT, path) as child:
        assert child.stdout is not None
        child.stdout.readline()
        age(tmp_path, hours=100)
        check_writable(path)
        assert len(leftovers(tmp_path)) == 1
        child.send_signal(signal.SIGKILL)
    check_writable(path)
    assert not leftovers(tmp_path)


def test_file_is_fresh_when_it_loses_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with atomic_write(path) as file:
        file.write(b"x")
        file.flush()
        age(tmp_path, hours=2)
    assert time.time() - path.stat().st_mtime < 3600


def test_sweeping_follows_no_link_and_waits_for_no_pipe(tmp_path: Path) -> None:
    path, kept = tmp_path / "a.bin", tmp_path / "kept"
    kept.write_bytes(b"x")
    (tmp_path / ".a.bin.0123456789abcdef.tmp").symlink_to(kept)
    os.mkfifo(tmp_path / ".a.bin.fedcba9876543210.tmp")
    (tmp_path / ".a.bin.0000000000000000.tmp").mkdir()
    age(tmp_path, hours=2)
    check_writable(path)
    assert kept.read_bytes() == b"x"
    assert len(leftovers(tmp_path)) == 3


def test_writability_is_found_out_without_touching_anything(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    check_writable(path)
    assert not list(tmp_path.iterdir())
    path.write_bytes(b"old")
    check_writable(path)
    assert [path.read_bytes(), *leftovers(tmp_path)] == [b"old"]
    for wrong in (tmp_path, tmp_path / "nowhere" / "a.bin", path / "a.bin"):
        with pytest.raises(StorageError):
            check_writable(wrong)
