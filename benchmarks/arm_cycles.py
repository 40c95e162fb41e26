"""Cycles of a program by static estimate: how often each of its blocks runs under QEMU, times its cycles by llvm-mca.

llvm-mca simulates the block's instructions over and over on the core's pipelines, as LLVM's scheduling model has them:
what depends on what, how many of each kind a cycle takes. Every load is taken to hit the first cache, and every branch
to be foreseen. Threads are counted apart; the slowest says how long an inference takes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Blocks", "Estimate", "find_mca"]

ITERATIONS = 100
COVERED = 0.999
"""Share of the instructions whose blocks are simulated; the rest is scaled."""
_PLUGIN = r"""
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
typedef void (*block_callback)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*executed_callback)(unsigned, void *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, block_callback);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, executed_callback, int, void *);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;
enum { THREADS = 8 };
typedef struct block {
    uint64_t place, size, counts[THREADS];
    struct block *next;
} block;
static block *blocks;

static void executed(unsigned thread, void *data) {
    if (thread < THREADS) ((block *)data)->counts[thread]++;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    block *made = calloc(1, sizeof *made);
    *made = (block){.place = qemu_plugin_tb_vaddr(tb), .size = qemu_plugin_tb_n_insns(tb), .next = blocks};
    blocks = made;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0, made);
}

static void ended(qemu_plugin_id_t id, void *data) {
    (void)id, (void)data;
    for (const block *b = blocks; b; b = b->next)
        for (int thread = 0; thread < THREADS; thread++)
            if (b->counts[thread])
                fprintf(stderr, "block: %d %llx %llu %llu\n", thread, (unsigned long long)b->place,
                        (unsigned long long)b->size, (unsigned long long)b->counts[thread]);
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv) {
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
"""
_ADDRESS = re.compile(r"\b[0-9a-f]+ <[^>]*>|(?<=[\s,])0x[0-9a-f]+$")
_BRANCHES = ("b", "bl", "cbz", "cbnz", "tbz", "tbnz", "adr", "adrp")

Block = tuple[int, int]
"""Address of the first instruction, and how many there are."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Cycles of one inference.

    Attributes:
        threads: of each thread, the largest first.
        instructions: of all threads.
        method: how it was obtained.
    """

    threads: tuple[float, ...]
    instructions: int
    method: str


def find_mca() -> str | None:
    """The newest llvm-mca here, since models of cores are mended; None where there is none (Debian: `llvm`)."""
    names = (*(f"llvm-mca-{number}" for number in range(40, 13, -1)), "llvm-mca")
    return next(filter(None, map(shutil.which, names)), None)


class Blocks:
    """Counts blocks under an emulator.

    Args:
        qemu: path of the user-mode emulator.
        folder: where the plugin is built.
    """

    def __init__(self, qemu: str, folder: Path) -> None:
        self._qemu, self._plugin = qemu, folder / "blocks.so"
        (folder / "blocks.c").write_text(_PLUGIN)
        command = ["gcc", "-O2", "-shared", "-fPIC", str(folder / "blocks.c"), "-o", str(self._plugin)]
        subprocess.run(command, check=True)

    def estimate(self, cpu: str, image: Path, threads: int, core: str | None = None) -> Estimate:
        """Cycles of one inference of an image: what a second run adds to the first.

        Args:
            cpu: emulated by QEMU.
            image: the program.
            threads: that it uses.
            core: which llvm-mca simulates, where it has another name.
        """
        core = core or cpu
        once, twice = (self._counts(cpu, image, threads, runs) for runs in (1, 2))
        counts = {thread: twice[thread] - once[thread] for thread in twice}
        cycles = _simulated(core, image, sum(counts.values(), Tally()))
        own = sorted((_total(blocks, cycles) for blocks in counts.values()), reverse=True)
        instructions = sum(size * count for blocks in counts.values() for (_, size), count in blocks.items())
        version = subprocess.run([_mca_command(), "--version"], capture_output=True, text=True, check=True).stdout
        found = re.search(r"LLVM version ([\d.]+)", version)
        method = (
            f"executions of each block under QEMU × its cycles by llvm-mca {found[1] if found else ''} -mcpu={core}, "
            f"loads hit the first cache, branches are foreseen; the slowest of {threads} threads"
        )
        return Estimate(tuple(own), instructions, method)

    def _counts(self, cpu: str, image: Path, threads: int, runs: int) -> dict[int, Tally[Block]]:
        words = [self._qemu, "-cpu", cpu, "-plugin", str(self._plugin), str(image)]
        words += ["--bench", str(runs), "--threads", str(threads)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        counts: dict[int, Tally[Block]] = {thread: Tally() for thread in range(threads)}
        for thread, place, size, count in re.findall(r"block: (\d+) ([0-9a-f]+) (\d+) (\d+)", done.stderr):
            counts[int(thread)][int(place, 16), int(size)] += int(count)
        return counts


def _total(counts: Mapping[Block, int], cycles: Mapping[Block, float]) -> float:
    """Cycles of the blocks that were simulated, scaled to all instructions."""
    whole = sum(size * count for (_, size), count in counts.items())
    seen = sum(block[1] * count for block, count in counts.items() if block in cycles)
    return sum(cycles[block] * count for block, count in counts.items() if block in cycles) * whole / max(seen, 1)


def _simulated(cpu: str, image: Path, counts: Mapping[Block, int]) -> dict[Block, float]:
    """Cycles of each block that matters."""
    code = _disassembled(image)
    chosen: list[Block] = []
    left = (1 - COVERED) * sum(size * count for (_, size), count in counts.items())
    for block in sorted(counts, key=lambda b: b[1] * counts[b]):
        left -= block[1] * counts[block]
        if left < 0:
            chosen.append(block)
    regions = [[code[place + 4 * i] for i in range(size)] for place, size in chosen]
    return dict(zip(chosen, _mca(cpu, regions), strict=True))


def _mca_command() -> str:
    found = find_mca()
    if found is None:
        raise RuntimeError("llvm-mca is not installed: apt-get install llvm")
    return found


def _mca(cpu: str, regions: Iterable[Sequence[str]]) -> list[float]:
    lines: list[str] = []
    for number, region in enumerate(regions):
        lines += [f"# LLVM-MCA-BEGIN r{number}", *region, f"# LLVM-MCA-END r{number}"]
    options = ["-march=aarch64", f"-mcpu={cpu}", "-mattr=+dotprod,+i8mm", f"-iterations={ITERATIONS}"]
    options += ["-instruction-info=0", "-resource-pressure=0"]
    text = "\n".join(lines) + "\n"
    done = subprocess.run([_mca_command(), *options], input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"llvm-mca: {done.stderr.splitlines()[0]}")
    return [int(cycles) / ITERATIONS for cycles in re.findall(r"Total Cycles:\s+(\d+)", done.stdout)]


def _disassembled(image: Path) -> dict[int, str]:
    """Instructions by address, with addresses in them made harmless: the assembler has no place for them."""
    command = ["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", str(image)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    code: dict[int, str] = {}
    for place, instruction in re.findall(r"^\s*([0-9a-f]+):\t(.*)$", text, re.MULTILINE):
        plain = instruction.split("//")[0].strip()
        name = plain.split()[0].split(".")[0]
        if name in _BRANCHES:
            plain = _ADDRESS.sub(".", re.sub(r"\b(?:0x)?[0-9a-f]+$", ".", plain))
        code[int(place, 16)] = _ADDRESS.sub(".", plain)
    return code
