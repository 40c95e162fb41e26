"""A Python for ARM64 in a folder of its own, unpacked from Debian's packages, for the emulator.

Nothing is installed on this machine: apt keeps its lists for the other architecture in a folder beside.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from quantization.cache import build, digest, root

__all__ = ["PYTHON", "sysroot"]

PYTHON = "usr/bin/python3.11"
PACKAGES = (
    *("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libffi8", "libbz2-1.0", "liblzma5", "libuuid1"),
    *("libpython3.11-minimal", "libpython3.11-stdlib", "python3.11-minimal"),
)
_BASE = "fp asimd evtstrm aes pmull sha1 sha2 crc32"
_SECOND = f"{_BASE} atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
_CPUS = {
    "cortex-a53": (0xD03, _BASE),
    "cortex-a72": (0xD08, f"{_BASE} cpuid"),
    "cortex-a76": (0xD0B, _SECOND),
    "neoverse-n1": (0xD0C, _SECOND),
    "max": (0xD40, f"{_SECOND} i8mm bf16"),
}
"""Part number and features that Linux names; libraries read them from /proc/cpuinfo, and QEMU shows its host's."""


def sysroot(cpu: str) -> Path:
    """Root of the file system that programs on an emulated CPU see first.

    Raises:
        RuntimeError: the packages cannot be had; the message is apt's last line.
    """
    base = build(root() / "environments" / f"arm-python-{digest([], *PACKAGES)}", _unpack)
    return build(base.with_name(f"{base.name}-{cpu}"), lambda folder: _present(base, cpu, folder))


def _unpack(folder: Path) -> None:
    apt, debs = folder / "apt", folder / "debs"
    for part in ("lists/partial", "cache/archives/partial"):
        (apt / part).mkdir(parents=True)
    debs.mkdir()
    (apt / "status").touch()
    (apt / "apt.conf").write_text(
        'APT::Architecture "arm64"; APT::Architectures { "arm64"; };\n'
        f'Dir::State "{apt}"; Dir::State::lists "{apt}/lists"; Dir::State::status "{apt}/status";\n'
        f'Dir::Cache "{apt}/cache"; APT::Sandbox::User "root";\n'
    )
    environment = {**os.environ, "APT_CONFIG": str(apt / "apt.conf")}
    _run(["apt-get", "-q", "update"], folder, environment)
    _run(["apt-get", "-q", "download", *PACKAGES], debs, environment)
    for deb in sorted(debs.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(deb), str(folder)], folder, environment)


def _present(base: Path, cpu: str, folder: Path) -> None:
    """The base seen from one CPU: symbolic links, and a /proc/cpuinfo that tells of one core of it."""
    part, features = _CPUS[cpu]
    for name in ("usr", "lib", "etc"):
        (folder / name).symlink_to(base / name)
    (folder / "proc").mkdir()
    (folder / "proc" / "cpuinfo").write_text(
        f"processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: 0x{part:x}\nCPU revision\t: 0\n\n"
    )
    cores = folder / "sys" / "devices" / "system" / "cpu"
    cores.mkdir(parents=True)
    for name in ("possible", "present", "online"):
        (cores / name).write_text("0\n")


def _run(command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise RuntimeError(f"a Python for ARM64: {command[0]}: {lines[-1]}")
