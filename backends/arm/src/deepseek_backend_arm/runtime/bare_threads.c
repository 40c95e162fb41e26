/* Threads, locks and conditions over clone and futex, as far as the pool needs them. Their state is one word each, the
   first of the types that pthread.h has. */
#include "bare.h"

#include <pthread.h>
#include <stdint.h>

enum {
    FUTEX_WAIT_PRIVATE = 128, FUTEX_WAKE_PRIVATE = 129, FUTEX_WAIT_SHARED = 0,
    FREE = 0, HELD = 1, AWAITED = 2,
    PAGE = 65536, STACK = 1 << 20,
    /* VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, CHILD_CLEARTID */
    CLONE_FLAGS = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x80000 | 0x200000
};

/* At the upper end of a thread's pages: its stack lies below. */
typedef struct {
    void *(*work)(void *);
    void *argument;
    char *pages;
    size_t size;
    int alive; /* the kernel clears it, and wakes who waits for it, when the thread is gone */
} thread;

long bare_clone(long flags, void *stack, void *parent, void *area, int *alive);
__asm__(".text\n"
        ".globl bare_clone\n"
        "bare_clone:\n"
        "    mov x8, #220\n"
        "    svc #0\n"
        "    cbz x0, 1f\n"
        "    ret\n"
        "1:  mov x29, #0\n"
        "    mov x30, #0\n"
        "    mov x0, sp\n"
        "    b bare_run\n");

__attribute__((noreturn, used)) void bare_run(thread *t) {
    t->work(t->argument);
    bare_call(BARE_EXIT, 0, 0, 0, 0, 0, 0);
    __builtin_unreachable();
}

static void wait_on(int *word, int value, int kind) { bare_call(BARE_FUTEX, (long)word, kind, value, 0, 0, 0); }

static void wake(int *word, int count) { bare_call(BARE_FUTEX, (long)word, FUTEX_WAKE_PRIVATE, count, 0, 0, 0); }

int pthread_create(pthread_t *made, const pthread_attr_t *attributes, void *(*work)(void *), void *argument) {
    (void)attributes;
    size_t own = (sizeof(thread) + 63) / 64 * 64, size = PAGE + STACK + own + (bare_thread_size() + 63) / 64 * 64;
    char *pages = bare_map(size);
    if (pages == NULL) return 1;
    bare_call(BARE_MPROTECT, (long)pages, PAGE, 0, 0, 0, 0); /* who runs out of stack faults */
    thread *t = (thread *)(void *)(pages + PAGE + STACK);
    *t = (thread){work, argument, pages, size, 1};
    *made = (pthread_t)t;
    if (bare_clone(CLONE_FLAGS, t, NULL, bare_thread_area((char *)t + own), &t->alive) > 0) return 0;
    bare_unmap(pages, size);
    return 1;
}

int pthread_join(pthread_t made, void **result) {
    (void)result;
    thread *t = (thread *)made;
    while (__atomic_load_n(&t->alive, __ATOMIC_ACQUIRE)) wait_on(&t->alive, 1, FUTEX_WAIT_SHARED);
    bare_unmap(t->pages, t->size);
    return 0;
}

int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes) {
    (void)attributes;
    *(int *)(void *)mutex = FREE;
    return 0;
}

int pthread_mutex_destroy(pthread_mutex_t *mutex) {
    (void)mutex;
    return 0;
}

/* "Futexes Are Tricky" (Drepper, 2011), its third mutex. */
int pthread_mutex_lock(pthread_mutex_t *mutex) {
    int *word = (int *)(void *)mutex, seen = FREE;
    if (__atomic_compare_exchange_n(word, &seen, HELD, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return 0;
    if (seen != AWAITED) seen = __atomic_exchange_n(word, AWAITED, __ATOMIC_ACQUIRE);
    while (seen != FREE) {
        wait_on(word, AWAITED, FUTEX_WAIT_PRIVATE);
        seen = __atomic_exchange_n(word, AWAITED, __ATOMIC_ACQUIRE);
    }
    return 0;
}

int pthread_mutex_unlock(pthread_mutex_t *mutex) {
    int *word = (int *)(void *)mutex;
    if (__atomic_exchange_n(word, FREE, __ATOMIC_RELEASE) == AWAITED) wake(word, 1);
    return 0;
}

int pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes) {
    (void)attributes;
    *(int *)(void *)condition = 0;
    return 0;
}

int pthread_cond_destroy(pthread_cond_t *condition) {
    (void)condition;
    return 0;
}

/* The word counts signals: who reads it before it unlocks misses none. May return without one, as POSIX allows. */
int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex) {
    int *word = (int *)(void *)condition, seen = __atomic_load_n(word, __ATOMIC_RELAXED);
    pthread_mutex_unlock(mutex);
    wait_on(word, seen, FUTEX_WAIT_PRIVATE);
    return pthread_mutex_lock(mutex);
}

int pthread_cond_signal(pthread_cond_t *condition) {
    int *word = (int *)(void *)condition;
    __atomic_add_fetch(word, 1, __ATOMIC_RELAXED);
    wake(word, 1);
    return 0;
}

int pthread_cond_broadcast(pthread_cond_t *condition) {
    int *word = (int *)(void *)condition;
    __atomic_add_fetch(word, 1, __ATOMIC_RELAXED);
    wake(word, INT32_MAX);
    return 0;
}
