"""One quantization in a child process: what it took, and how it ended."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

__all__ = ["Outcome", "run"]

_STEP = 0.05
"""Seconds between two looks at the child's memory and time."""

_LAST_SECONDS = 10.0
"""Seconds at most that a killed process has to end: one in an uninterruptible wait may take longer."""

_CALM = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"),
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONWARNINGS": "ignore",
    "TQDM_DISABLE": "1",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job took.

    Attributes:
        seconds: wall time of the whole process, start of the interpreter to its end.
        cpu: seconds of CPU time of the process and its children.
        peak: resident bytes at most, all its processes together.
        error: the last line that it wrote when it failed, or why it was stopped; None when it succeeded.
    """

    seconds: float
    cpu: float
    peak: int
    error: str | None

    def facts(self) -> dict[str, Any]:
        return asdict(self)


def run(
    command: Sequence[str],
    *,
    seconds: float,
    memory: int,
    environment: Mapping[str, str] | None = None,
    watch: Callable[[float], None] | None = None,
) -> Outcome:
    """Run `command` on one core and wait for it.

    Args:
        seconds: CPU time after which it is stopped; it is also stopped after three times as much wall time.
        memory: resident bytes above which it is stopped.
        environment: variables beside the caller's.
        watch: told the wall time now and then.
    """
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        with _on_one_core():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=place,
                env={**os.environ, **_CALM, **(environment or {}), "TMPDIR": place},
            )
        child = psutil.Process(process.pid)
        cpu, peak, error = 0.0, 0, None
        while process.poll() is None:
            wall = time.perf_counter() - start
            used, resident = _usage(child)
            cpu, peak = max(cpu, used), max(peak, resident)
            error = _excess(cpu, wall, peak, seconds, memory)
            if error is not None:
                _stop(child)
                break
            if watch is not None:
                watch(wall)
            time.sleep(_STEP)
        process.wait()
        wall = time.perf_counter() - start
        if error is None and process.returncode != 0:
            log.seek(0)
            error = _last_line(log.read().decode(errors="replace"), process.returncode)
    return Outcome(wall, cpu, peak, error)


@contextlib.contextmanager
def _on_one_core() -> Iterator[None]:
    """What starts meanwhile gets the least busy core, and libraries that ignore thread settings no more than that."""
    allowed, load = os.sched_getaffinity(0), psutil.cpu_percent(0.1, percpu=True)
    os.sched_setaffinity(0, {min(allowed, key=lambda core: load[core])})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _usage(process: psutil.Process) -> tuple[float, int]:
    """CPU seconds so far, and the sum of the peaks of resident bytes, of a process and its descendants."""
    cpu, peak = 0.0, 0
    try:
        for each in (process, *process.children(recursive=True)):
            times = each.cpu_times()
            cpu += times.user + times.system + (times.children_user + times.children_system if each is process else 0)
            peak += _high_water(each.pid)
    except (psutil.NoSuchProcess, OSError):
        pass
    return cpu, peak


def _high_water(pid: int) -> int:
    """Resident bytes at most since the program was loaded; not what the parent had when it forked."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def _excess(cpu: float, wall: float, peak: int, seconds: float, memory: int) -> str | None:
    if cpu > seconds or wall > 3 * seconds:
        return f"stopped after {cpu:.0f} s of CPU time, {wall:.0f} s"
    if peak > memory:
        return f"stopped at {peak / 1e9:.1f} GB of memory"
    return None


def _stop(process: psutil.Process) -> None:
    """Kill a process and its descendants, and wait until none runs: a signal is not yet an end."""
    every = (*process.children(recursive=True), process)
    for each in every:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    end = time.perf_counter() + _LAST_SECONDS
    while any(map(_runs, every)) and time.perf_counter() < end:
        time.sleep(_STEP)


def _runs(process: psutil.Process) -> bool:
    """Whether it still takes time and memory; a zombie, which nobody may ever collect, does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _last_line(text: str, code: int) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{lines[-1] if lines else 'no message'}"[:300] if code > 0 else f"killed by signal {-code}"
