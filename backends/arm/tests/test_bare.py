"""What images have instead of a C library: its functions against plain loops, threads, and what is left of an image."""

from __future__ import annotations

import subprocess

import pytest

from deepseek_backend_arm.build import runtime_folder
from deepseek_backend_arm.emulator import find_qemu
from deepseek_backend_arm.toolchain import find_toolchain
from deepseek_core import CompileOptions, discover

_CHECKS = r"""
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 100, THREADS = 4, ROUNDS = 2000 };

static char x[2 * MOST], y[2 * MOST];
static pthread_mutex_t lock;
static pthread_cond_t turned;
static int sum, turn;
static _Thread_local int own = 5;

static void fill(void) {
    for (int i = 0; i < 2 * MOST; i++) x[i] = (char)(i * 7 + 1), y[i] = (char)~x[i];
}

static int copies(void) {
    for (int size = 0; size < MOST; size++)
        for (int at = 0; at < 9; at++) {
            fill();
            if (memcpy(y + at, x + 3, (size_t)size) != y + at) return 1;
            for (int i = 0; i < 2 * MOST; i++)
                if (y[i] != (i >= at && i < at + size ? (char)((i - at + 3) * 7 + 1) : (char)~x[i])) return 2;
            if (memcmp(y + at, x + 3, (size_t)size)) return 3;
            fill();
            memset(y + at, -3, (size_t)size);
            for (int i = 0; i < 2 * MOST; i++)
                if (y[i] != (i >= at && i < at + size ? (char)-3 : (char)~x[i])) return 4;
            fill();
            memmove(x + at, x + 4, (size_t)size);
            for (int i = 0; i < size; i++)
                if (x[at + i] != (char)((i + 4) * 7 + 1)) return 5;
        }
    return 0;
}

static int words(void) {
    if (strlen("") != 0 || strlen("word") != 4) return 6;
    if (strcmp("a", "a") || strcmp("a", "b") >= 0 || strcmp("b", "a") <= 0 || strcmp("a", "ab") >= 0) return 7;
    if (strncmp("abc", "abd", 2) || strncmp("abc", "abd", 3) >= 0 || strcmp("\377", "a") <= 0) return 8;
    return 0;
}

static void *in_turn(void *number) {
    if (own++ != 5) return NULL;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&lock);
        while (turn % THREADS != *(int *)number) pthread_cond_wait(&turned, &lock);
        sum += own;
        turn++;
        pthread_cond_broadcast(&turned);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static int threads(void) {
    pthread_t made[THREADS];
    int numbers[THREADS];
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&turned, NULL);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        if (pthread_create(&made[i], NULL, in_turn, &numbers[i])) return 9;
    }
    for (int i = 0; i < THREADS; i++) pthread_join(made[i], NULL);
    return sum == 6 * THREADS * ROUNDS && own == 5 ? 0 : 10;
}

static int memory(void) {
    char *piece = calloc(3, 1000), *aligned = aligned_alloc(64, 1 << 20);
    if (piece == NULL || aligned == NULL || (unsigned long)aligned % 64) return 11;
    for (int i = 0; i < 3000; i++)
        if (piece[i]) return 12;
    free(piece), free(aligned), free(NULL);
    return calloc((size_t)-1 / 2, 3) == NULL && malloc((size_t)1 << 60) == NULL ? 0 : 13;
}

int main(int count, char **arguments) {
    volatile float huge = 200;
    if (count != 3 || strcmp(arguments[2], "two words")) return 14;
    if (open("/nowhere/at/all", O_RDONLY) != -1 || close(77) != -1 || read(77, x, 1) != -1) return 15;
    if (expf(huge) != INFINITY || fabsf(expf(1) - 2.7182818f) > 1e-6f) return 16;
    int (*const checks[])(void) = {copies, words, threads, memory};
    for (int i = 0; i < 4; i++) {
        int wrong = checks[i]();
        if (wrong) return wrong;
    }
    return write(1, "good\n", 5) == 5 ? 0 : 17;
}
"""


@pytest.fixture
def bare(toolchain):
    if not find_toolchain().has_bare_images:
        pytest.skip("this compiler's images have its own C library")


def test_functions_do_as_the_standard_says(bare, tmp_path) -> None:
    runtime = runtime_folder()
    (tmp_path / "checks.c").write_text(_CHECKS)
    objects = [str(runtime / f"{name}.o") for name in ("bare", "bare_threads")]
    words = ["-O1", "-fno-builtin", "-static", "-nostdlib", "checks.c", *objects, "-lm", "-lgcc", "-o", "checks"]
    find_toolchain().run(words, tmp_path)
    command = [find_qemu(), str(tmp_path / "checks"), "one", "two words"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "good\n")


def test_an_image_is_little_larger_than_its_constants(network, toolchain) -> None:
    backend, target = discover().resolve("arm64")
    built = backend.cross_compile(network, target, "bin", CompileOptions())
    assert len(built.payload) - int(built.report["constant_bytes"]) < 300_000
