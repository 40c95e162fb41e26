from __future__ import annotations

import sys
from pathlib import Path

from quantization.job import run

BIG = 2_000_000_000


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_what_a_job_took() -> None:
    outcome = run(python("x = bytearray(200_000_000)\nsum(range(3_000_000))"), seconds=60, memory=BIG)
    assert outcome.error is None
    assert outcome.peak > 150_000_000
    assert 0 < outcome.cpu <= outcome.seconds * 2


def test_the_last_line_of_a_failure_is_kept() -> None:
    outcome = run(python("raise ValueError('no such layer')"), seconds=60, memory=BIG)
    assert outcome.error == "ValueError: no such layer"


def test_a_job_is_stopped_when_its_time_is_over() -> None:
    outcome = run(python("while True: pass"), seconds=0.3, memory=BIG)
    assert outcome.error is not None
    assert outcome.error.startswith("stopped after")


def test_a_job_is_stopped_when_it_takes_too_much_memory() -> None:
    code = "import time\nx = bytearray(300_000_000)\ntime.sleep(60)"
    outcome = run(python(code), seconds=60, memory=100_000_000)
    assert outcome.error is not None
    assert "GB of memory" in outcome.error


def test_children_count_and_do_not_outlive_a_stopped_job(tmp_path: Path) -> None:
    code = "import subprocess, sys\nchild = subprocess.Popen(['sleep', '60'])\n"
    code += f"with open({str(tmp_path / 'pid')!r}, 'w') as file:\n    file.write(str(child.pid))\nwhile True: pass"
    assert run(python(code), seconds=1.0, memory=BIG).error is not None
    pid = (tmp_path / "pid").read_text()
    status = Path(f"/proc/{pid}/status")
    assert not status.exists() or "(zombie)" in status.read_text()


def test_one_core_is_all_a_job_gets() -> None:
    outcome = run(python("import os, sys\nsys.exit(f'{len(os.sched_getaffinity(0))} core')"), seconds=60, memory=BIG)
    assert outcome.error == "1 core"
