/* What an image needs of a C library, by Linux's system calls: an image with glibc in it is 0.6 MB larger.

   Its start, memory, strings and files are here, threads in bare_threads.c; functions of math.h come from libm.a. */
#pragma GCC optimize("no-tree-loop-distribute-patterns") /* or memset becomes a call of itself */

#include "bare.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

enum { AT_PHDR_ID = 3, AT_PHNUM_ID = 5, TLS_SEGMENT = 7, HERE = -100, HEAD = 64, WORD = 16, THREAD_WORDS = 16 };

_Thread_local int errno; /* libm sets it */

static const unsigned long *auxiliary;

int main(int count, char **words);

__asm__(".text\n"
        ".globl _start\n"
        "_start:\n"
        "    mov x29, #0\n"
        "    mov x30, #0\n"
        "    mov x0, sp\n"
        "    b bare_start\n");

__attribute__((noreturn, used)) void bare_start(long *stack) {
    char **words = (char **)(stack + 1), **end = words + stack[0] + 1;
    while (*end) end++; /* the environment */
    auxiliary = (const unsigned long *)(end + 1);
    bare_set_thread(bare_thread_area(bare_map(bare_thread_size())));
    bare_call(BARE_EXIT_GROUP, main((int)stack[0], words), 0, 0, 0, 0, 0);
    __builtin_unreachable();
}

unsigned long getauxval(unsigned long type) {
    for (const unsigned long *entry = auxiliary; entry[0]; entry += 2)
        if (entry[0] == type) return entry[1];
    return 0;
}

unsigned long __getauxval(unsigned long type) { return getauxval(type); } /* libgcc's name for it */

/* Program header of thread-local storage, as ELF for 64 bits has it; NULL where there is none. */
typedef struct {
    unsigned type, flags;
    unsigned long offset, address, physical, size, memory, alignment;
} header;

static const header *thread_header(void) {
    const header *headers = (const header *)getauxval(AT_PHDR_ID);
    for (unsigned long i = 0; i < getauxval(AT_PHNUM_ID); i++)
        if (headers[i].type == TLS_SEGMENT) return &headers[i];
    return NULL;
}

static size_t before(const header *h) { return h == NULL || h->alignment < THREAD_WORDS ? THREAD_WORDS : h->alignment; }

size_t bare_thread_size(void) {
    const header *h = thread_header();
    return before(h) + (h == NULL ? 0 : h->memory);
}

/* The thread pointer's two words, then the thread's variables as they start. */
void *bare_thread_area(void *room) {
    const header *h = thread_header();
    if (h != NULL && room != NULL) memcpy((char *)room + before(h), (const void *)h->address, h->size);
    return room;
}

void *bare_map(size_t size) {
    enum { READ_WRITE = 3, PRIVATE_ANONYMOUS = 0x22 };
    long place = bare_call(BARE_MMAP, 0, (long)size, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0);
    return place < 0 && place > -4096 ? NULL : (void *)place;
}

void bare_unmap(void *place, size_t size) { bare_call(BARE_MUNMAP, (long)place, (long)size, 0, 0, 0, 0); }

/* Pages of their own, for there are few; their size lies before what the caller gets. */
void *aligned_alloc(size_t alignment, size_t size) {
    char *place = alignment <= HEAD && size <= PTRDIFF_MAX - HEAD ? bare_map(size + HEAD) : NULL;
    if (place == NULL) return NULL;
    *(size_t *)(void *)place = size + HEAD;
    return place + HEAD;
}

void *malloc(size_t size) { return aligned_alloc(HEAD, size); }

void *calloc(size_t count, size_t size) {
    size_t whole;
    return __builtin_mul_overflow(count, size, &whole) ? NULL : malloc(whole);
}

void free(void *data) {
    if (data == NULL) return;
    char *place = (char *)data - HEAD;
    bare_unmap(place, *(size_t *)(void *)place);
}

/* A few bytes whose number the compiler knows, in registers. */
static inline __attribute__((always_inline)) void move(char *to, const char *from, size_t size) {
    char part[WORD];
    __builtin_memcpy(part, from, size);
    __builtin_memcpy(to, part, size);
}

/* Whole words, the last one over part of those before. */
void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    char *t = to;
    const char *f = from;
    if (size >= WORD) {
        for (size_t i = 0; i + WORD <= size; i += WORD) move(t + i, f + i, WORD);
        move(t + size - WORD, f + size - WORD, WORD);
    } else if (size >= 4) {
        move(t, f, 4);
        move(t + size - 4, f + size - 4, 4);
        if (size > 8) move(t + size - 8, f + size - 8, 8);
        if (size >= 8) move(t, f, 8);
    } else {
        for (size_t i = 0; i < size; i++) t[i] = f[i];
    }
    return to;
}

void *memmove(void *to, const void *from, size_t size) {
    char *t = to;
    const char *f = from;
    if ((size_t)(t - f) >= size) {
        for (size_t i = 0; i < size; i++) t[i] = f[i];
    } else {
        while (size-- > 0) t[size] = f[size];
    }
    return to;
}

void *memset(void *to, int value, size_t size) {
    char *t = to, word[WORD];
    for (size_t i = 0; i < WORD; i++) word[i] = (char)value;
    if (size >= WORD) {
        for (size_t i = 0; i + WORD <= size; i += WORD) move(t + i, word, WORD);
        move(t + size - WORD, word, WORD);
    } else {
        for (size_t i = 0; i < size; i++) t[i] = (char)value;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t size) {
    const unsigned char *x = a, *y = b;
    for (size_t i = 0; i < size; i++)
        if (x[i] != y[i]) return x[i] - y[i];
    return 0;
}

size_t strlen(const char *word) {
    size_t size = 0;
    while (word[size]) size++;
    return size;
}

int strncmp(const char *a, const char *b, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (a[i] != b[i] || !a[i]) return (unsigned char)a[i] - (unsigned char)b[i];
    return 0;
}

int strcmp(const char *a, const char *b) { return strncmp(a, b, PTRDIFF_MAX); }

static long result(long status) { return status < 0 ? -1 : status; }

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int mode = flags & O_CREAT ? va_arg(more, int) : 0;
    va_end(more);
    return (int)result(bare_call(BARE_OPENAT, HERE, (long)path, flags, mode, 0, 0));
}

int close(int file) { return (int)result(bare_call(BARE_CLOSE, file, 0, 0, 0, 0, 0)); }

ssize_t read(int file, void *data, size_t size) {
    return result(bare_call(BARE_READ, file, (long)data, (long)size, 0, 0, 0));
}

ssize_t write(int file, const void *data, size_t size) {
    return result(bare_call(BARE_WRITE, file, (long)data, (long)size, 0, 0, 0));
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    return (int)result(bare_call(BARE_CLOCK_GETTIME, clock, (long)time, 0, 0, 0, 0));
}
