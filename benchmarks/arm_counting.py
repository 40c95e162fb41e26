"""Instructions that a program executes under QEMU's user-mode emulation, counted by a plugin.

Debian ships no header for plugins, so the few functions of the interface (QEMU 7.2, version 1) are declared here.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Counter"]

_PLUGIN = r"""
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stddef.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
typedef void (*block_callback)(qemu_plugin_id_t, struct qemu_plugin_tb *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, block_callback);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
typedef uint64_t word;
typedef void (*syscall_callback)(qemu_plugin_id_t, unsigned, int64_t, word, word, word, word, word, word, word, word);
extern void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, syscall_callback);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;
static uint64_t count;

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(block, 0, &count, qemu_plugin_tb_n_insns(block));
}

/* getppid, which nothing else calls: a mark that a program sets. */
static void called(qemu_plugin_id_t id, unsigned cpu, int64_t number, word a, word b, word c, word d, word e, word f,
                   word g, word h) {
    (void)id, (void)cpu, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == 173) fprintf(stderr, "mark: %llu\n", (unsigned long long)count);
}

static void ended(qemu_plugin_id_t id, void *data) {
    (void)id, (void)data;
    fprintf(stderr, "instructions: %llu\n", (unsigned long long)count);
}

#pragma GCC visibility push(default)
int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv) {
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
"""


class Counter:
    """Counts under one emulator.

    Args:
        qemu: path of the user-mode emulator.
        folder: where the plugin is built.
    """

    def __init__(self, qemu: str, folder: Path) -> None:
        self._qemu, self._plugin = qemu, folder / "count.so"
        (folder / "count.c").write_text(_PLUGIN)
        command = ["gcc", "-O2", "-shared", "-fPIC", str(folder / "count.c"), "-o", str(self._plugin)]
        subprocess.run(command, check=True)

    def count(self, cpu: str, command: Sequence[str]) -> int:
        """Instructions from start to end of a program on an emulated CPU; the same every time."""
        words = [self._qemu, "-cpu", cpu, "-plugin", str(self._plugin), *command]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        found = re.search(r"instructions: (\d+)", done.stderr)
        assert found is not None
        return int(found[1])

    def marks(
        self, cpu: str, command: Sequence[str], root: Path, variables: Mapping[str, str], folder: Path | None = None
    ) -> list[int]:
        """Instructions up to each call of getppid.

        Args:
            root: where the program finds files before it looks at this machine's.
            variables: its environment, besides this process's.
            folder: where it starts.

        Raises:
            RuntimeError: the program fails; the message is its last line.
        """
        words = [self._qemu, "-cpu", cpu, "-L", str(root), "-plugin", str(self._plugin)]
        words += [word for name, value in variables.items() for word in ("-E", f"{name}={value}")]
        done = subprocess.run([*words, *command], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if not line.startswith(("mark: ", "instructions: "))]
            raise RuntimeError(f"on the emulated {cpu}: {lines[-1] if lines else done.returncode}")
        return [int(number) for number in re.findall(r"mark: (\d+)", done.stderr)]

    def of_one_run(self, cpu: str, image: Path) -> int:
        """Instructions of one inference of an image: what a second run adds to the first."""
        return self.count(cpu, [str(image), "--bench", "2"]) - self.count(cpu, [str(image), "--bench", "1"])
