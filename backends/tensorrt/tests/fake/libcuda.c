/* A CUDA driver whose device is the host's memory. Calls are appended to the file that FAKE_CUDA_LOG names; FAKE_CUDA_MEMORY
   bounds what may be allocated; FAKE_CUDA_CAPABILITY is the device's compute capability, such as 90. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t ptr;
typedef void (*callback)(void);
typedef struct {
    void *to;
    const void *from;
    size_t size;
    callback run;
} step;

static size_t used;
static int captured, graphs;
static step steps[64][64];
static int counts[64];

static void keep(void *to, const void *from, size_t size, callback run) {
    if (captured) {
        steps[graphs][counts[graphs]++] = (step){to, from, size, run};
    }
}
/* The fake TensorRT gives what a run of it does, to be done again at each launch. */
int fakeCapturing(callback run) { return keep(NULL, NULL, 0, run), captured; }

static void note(const char *what) {
    const char *path = getenv("FAKE_CUDA_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file) {
        fprintf(file, "%s\n", what);
        fclose(file);
    }
}
static size_t total(void) {
    const char *text = getenv("FAKE_CUDA_MEMORY");
    return text ? strtoull(text, NULL, 10) : (size_t)1 << 34;
}
static int capability(void) {
    const char *text = getenv("FAKE_CUDA_CAPABILITY");
    return text ? atoi(text) : 90;
}

int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { return *version = 13000, 0; }
int cuDeviceGetCount(int *count) { return *count = 1, 0; }
int cuDeviceGet(int *device, int number) { return *device = number, 0; }
int cuDeviceGetName(char *name, int size, int device) { return strncpy(name, "Fake H100", size), 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { return *bytes = total(), 0; }
int cuDeviceGetAttribute(int *value, int code, int device) {
    return *value = code == 75 ? capability() / 10 : capability() % 10, 0;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { return *context = (void *)1, note("retain"), 0; }
int cuCtxSetCurrent(void *context) { return 0; }
int cuMemAlloc_v2(ptr *address, size_t size) {
    if (used + size > total()) {
        return note("out of memory"), 2;
    }
    size_t *block = malloc(size + 64);
    block[0] = size;
    used += size;
    *address = (ptr)(uintptr_t)block + 64;
    return note("alloc"), 0;
}
int cuMemFree_v2(ptr address) {
    size_t *block = (size_t *)(uintptr_t)(address - 64);
    used -= block[0];
    free(block);
    return note("free"), 0;
}
int cuMemGetInfo_v2(size_t *left, size_t *all) { return *all = total(), *left = total() - used, 0; }
int cuMemHostAlloc(void **address, size_t size, unsigned flags) { return *address = malloc(size), note("pin"), 0; }
int cuMemFreeHost(void *address) { return free(address), note("unpin"), 0; }
int cuMemcpyHtoDAsync_v2(ptr to, const void *from, size_t size, void *stream) {
    keep((void *)(uintptr_t)to, from, size, NULL);
    return memcpy((void *)(uintptr_t)to, from, size), note(captured ? "captured copy in" : "copy in"), 0;
}
int cuMemcpyDtoHAsync_v2(void *to, ptr from, size_t size, void *stream) {
    keep(to, (void *)(uintptr_t)from, size, NULL);
    return memcpy(to, (void *)(uintptr_t)from, size), note(captured ? "captured copy out" : "copy out"), 0;
}
int cuStreamCreate(void **stream, unsigned flags) {
    static uintptr_t next = 100;
    return *stream = (void *)next++, note("stream"), 0;
}
int cuStreamDestroy_v2(void *stream) { return note("stream destroyed"), 0; }
int cuStreamSynchronize(void *stream) { return note("wait"), 0; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return note("wait for event"), 0; }
int cuEventCreate(void **event, unsigned flags) { return *event = (void *)7, note("event"), 0; }
int cuEventDestroy_v2(void *event) { return 0; }
int cuEventRecord(void *event, void *stream) { return note("record"), 0; }
int cuEventElapsedTime(float *milliseconds, void *start, void *end) { return *milliseconds = 0.5f, 0; }
int cuStreamBeginCapture_v2(void *stream, int mode) {
    if (getenv("FAKE_CUDA_NO_CAPTURE")) {
        return 900;
    }
    return captured = 1, counts[graphs] = 0, note("begin capture"), 0;
}
int cuStreamEndCapture(void *stream, void **graph) {
    if (!captured) {
        return 901;
    }
    return captured = 0, *graph = (void *)(uintptr_t)(1 + graphs++ % 64), note("end capture"), 0;
}
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    return *executable = graph, note("instantiate"), 0;
}
int cuGraphDestroy(void *graph) { return 0; }
int cuGraphExecDestroy(void *graph) { return note("graph destroyed"), 0; }
int cuGetErrorName(int code, const char **name) {
    return *name = code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : code == 900 ? "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED" : "CUDA_ERROR", 0;
}
int cuGraphLaunch(void *graph, void *stream) {
    int number = (int)(uintptr_t)graph - 1;
    note("launch");
    for (int i = 0; i < counts[number]; i++) {
        step now = steps[number][i];
        now.run ? now.run() : (void)memcpy(now.to, now.from, now.size);
    }
    return 0;
}
