/* Linux on ARM64 without a C library. */
#ifndef DS_BARE_H
#define DS_BARE_H

#include <stddef.h>

enum {
    BARE_OPENAT = 56, BARE_CLOSE = 57, BARE_READ = 63, BARE_WRITE = 64, BARE_EXIT = 93, BARE_EXIT_GROUP = 94,
    BARE_FUTEX = 98, BARE_CLOCK_GETTIME = 113, BARE_MUNMAP = 215, BARE_CLONE = 220, BARE_MMAP = 222, BARE_MPROTECT = 226
};

static inline long bare_call(long number, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
    return x0;
}

static inline void bare_set_thread(void *area) { __asm__ volatile("msr tpidr_el0, %0" : : "r"(area) : "memory"); }

/* Zeroed pages; NULL when there are none. */
void *bare_map(size_t size);
void bare_unmap(void *place, size_t size);
/* Bytes of what belongs to a thread, and the same made ready in `room`. */
size_t bare_thread_size(void);
void *bare_thread_area(void *room);

#endif
