/* libamdhip64 without a GPU: every call becomes a message to a server that interprets the kernels.
 *
 * The server is the command in DEEPSEEK_HIP_SERVER; it is started by the first call, and talks on its standard input and
 * output. A request is a call's number, six numbers, and data with its length; an answer an error code, a number and data
 * with its length. Where the server is gone, calls fail as they do when a GPU is lost. One thread at a time.
 *
 * Signatures: HIP API reference (rocm.docs.amd.com), hip/hip_runtime_api.h; their ABI is that of ROCm 6 and 7.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))

enum { SUCCESS = 0, INVALID_VALUE = 1, NO_DEVICE = 100, INVALID_IMAGE = 200, LAUNCH_FAILURE = 719 };
enum {
    INIT = 1, COUNT, PROPERTIES, SET_DEVICE, ALLOCATE, FREE, UPLOAD, DOWNLOAD, LOAD, UNLOAD, FUNCTION, LAUNCH,
    MAKE_STREAM, END_STREAM, SYNCHRONISE, BEGIN_CAPTURE, END_CAPTURE, INSTANTIATE, REPLAY, END_EXECUTABLE, END_GRAPH,
    MAKE_EVENT, END_EVENT, RECORD, WAIT_EVENT, ELAPSED
};

typedef struct {
    uint64_t call, numbers[6], size;
} request;
typedef struct {
    int64_t code;
    uint64_t value, size;
} answer;

static int connection = -1;

static int start(void) {
    const char *command = getenv("DEEPSEEK_HIP_SERVER");
    int ends[2];
    if (command == NULL || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return NO_DEVICE;
    pid_t child = fork();
    if (child < 0)
        return NO_DEVICE;
    if (child == 0) {
        dup2(ends[1], 0);
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    connection = ends[0];
    return SUCCESS;
}

static int move(void *data, size_t size, int out) {
    char *place = data;
    while (size > 0) {
        ssize_t done = out ? send(connection, place, size, MSG_NOSIGNAL) : recv(connection, place, size, 0);
        if (done <= 0)
            return LAUNCH_FAILURE;
        place += done;
        size -= (size_t)done;
    }
    return SUCCESS;
}

/* Up to `room` bytes of the answer's data go to `back`; the rest is dropped. */
static int ask(request *asked, const void *data, uint64_t *value, void *back, size_t room) {
    answer got;
    if (connection < 0) {
        int code = start();
        if (code != SUCCESS)
            return code;
    }
    if (move(asked, sizeof *asked, 1) || move((void *)data, asked->size, 1) || move(&got, sizeof got, 0))
        return LAUNCH_FAILURE;
    if (value != NULL && got.code == SUCCESS)
        *value = got.value;
    if (got.size > room || move(back, got.size, 0))
        return LAUNCH_FAILURE;
    return (int)got.code;
}

static int simple(uint64_t call, uint64_t first, uint64_t second, uint64_t *value) {
    request asked = {.call = call, .numbers = {first, second}};
    return ask(&asked, NULL, value, NULL, 0);
}

static int made(uint64_t call, uint64_t first, void **handle) {
    uint64_t value = 0;
    int code = handle == NULL ? INVALID_VALUE : simple(call, first, 0, &value);
    if (code == SUCCESS)
        *handle = (void *)(uintptr_t)value;
    return code;
}

#define HANDLE(x) ((uint64_t)(uintptr_t)(x))

API const char *hipGetErrorString(int code) {
    static const struct { int code; const char *text; } known[] = {
        {0, "no error"}, {1, "invalid argument"}, {2, "out of memory"}, {9, "invalid configuration argument"},
        {100, "no ROCm-capable device is detected"}, {101, "invalid device ordinal"},
        {200, "device kernel image is invalid"}, {209, "no kernel image is available for execution on the device"},
        {400, "invalid resource handle"}, {500, "named symbol not found"},
        {700, "an illegal memory access was encountered"}, {719, "unspecified launch failure"},
        {900, "operation not permitted when stream is capturing"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].code == code)
            return known[i].text;
    return "unknown error";
}

API int hipInit(unsigned flags) { return simple(INIT, flags, 0, NULL); }

API int hipGetDeviceCount(int *count) {
    uint64_t value = 0;
    int code = count == NULL ? INVALID_VALUE : simple(COUNT, 0, 0, &value);
    if (count != NULL)
        *count = (int)value;
    return code;
}

/* Of hipDeviceProp_tR0600, 1472 bytes, the name at 0 and gcnArchName at 1160. */
API int hipGetDevicePropertiesR0600(char *properties, int device) {
    request asked = {.call = PROPERTIES, .numbers = {(uint64_t)(int64_t)device}};
    char names[512];
    if (properties == NULL)
        return INVALID_VALUE;
    int code = ask(&asked, NULL, NULL, names, sizeof names);
    if (code == SUCCESS) {
        memset(properties, 0, 1472);
        memcpy(properties, names, 256);
        memcpy(properties + 1160, names + 256, 256);
    }
    return code;
}

API int hipSetDevice(int device) { return simple(SET_DEVICE, (uint64_t)(int64_t)device, 0, NULL); }
API int hipMalloc(void **address, size_t size) { return made(ALLOCATE, size, address); }
API int hipFree(void *address) { return address == NULL ? SUCCESS : simple(FREE, HANDLE(address), 0, NULL); }

API int hipMemcpyHtoD(void *to, const void *from, size_t size) {
    request asked = {.call = UPLOAD, .numbers = {HANDLE(to)}, .size = size};
    return from == NULL && size > 0 ? INVALID_VALUE : ask(&asked, from, NULL, NULL, 0);
}

API int hipMemcpyDtoH(void *to, void *from, size_t size) {
    request asked = {.call = DOWNLOAD, .numbers = {HANDLE(from), size}};
    return to == NULL && size > 0 ? INVALID_VALUE : ask(&asked, NULL, NULL, to, size);
}

API int hipMemcpy(void *to, const void *from, size_t size, int kind) {
    if (kind == 1)
        return hipMemcpyHtoD(to, from, size);
    return kind == 2 ? hipMemcpyDtoH(to, (void *)from, size) : INVALID_VALUE;
}

/* An ELF file ends behind its section headers, or behind the last section. */
static size_t image_size(const unsigned char *image) {
    uint64_t sections, start, length, end;
    uint16_t entry, count;
    memcpy(&sections, image + 0x28, 8);
    memcpy(&entry, image + 0x3A, 2);
    memcpy(&count, image + 0x3C, 2);
    end = sections + (uint64_t)entry * count;
    for (unsigned i = 0; i < count; i++) {
        uint32_t kind;
        memcpy(&kind, image + sections + i * entry + 4, 4);
        memcpy(&start, image + sections + i * entry + 24, 8);
        memcpy(&length, image + sections + i * entry + 32, 8);
        if (kind != 8 && start + length > end) /* SHT_NOBITS has no bytes */
            end = start + length;
    }
    return end;
}

API int hipModuleLoadData(void **module, const void *image) {
    uint64_t value = 0;
    if (module == NULL || image == NULL)
        return INVALID_VALUE;
    if (memcmp(image, "\177ELF", 4) != 0)
        return INVALID_IMAGE;
    request asked = {.call = LOAD, .size = image_size(image)};
    int code = ask(&asked, image, &value, NULL, 0);
    if (code == SUCCESS)
        *module = (void *)(uintptr_t)value;
    return code;
}

API int hipModuleUnload(void *module) { return simple(UNLOAD, HANDLE(module), 0, NULL); }

API int hipModuleGetFunction(void **function, void *module, const char *name) {
    uint64_t value = 0;
    if (function == NULL || name == NULL)
        return INVALID_VALUE;
    request asked = {.call = FUNCTION, .numbers = {HANDLE(module)}, .size = strlen(name)};
    int code = ask(&asked, name, &value, NULL, 0);
    if (code == SUCCESS)
        *function = (void *)(uintptr_t)value;
    return code;
}

API int hipModuleLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                              unsigned block_y, unsigned block_z, unsigned shared, void *stream, void **parameters,
                              void **extra) {
    const void *data = NULL;
    const size_t *size = NULL;
    if (parameters != NULL || extra == NULL) /* one way of passing arguments is enough here */
        return INVALID_VALUE;
    for (int i = 0; i < 4 && extra[i] != (void *)3; i += 2) {
        if (extra[i] == (void *)1)
            data = extra[i + 1];
        else if (extra[i] == (void *)2)
            size = extra[i + 1];
        else
            return INVALID_VALUE;
    }
    if (data == NULL || size == NULL || extra[4] != (void *)3)
        return INVALID_VALUE;
    uint32_t words[8] = {grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, 0};
    unsigned char *message = malloc(sizeof words + *size);
    if (message == NULL)
        return 2;
    memcpy(message, words, sizeof words);
    memcpy(message + sizeof words, data, *size);
    request asked = {.call = LAUNCH, .numbers = {HANDLE(function), HANDLE(stream)}, .size = sizeof words + *size};
    int code = ask(&asked, message, NULL, NULL, 0);
    free(message);
    return code;
}

API int hipStreamCreate(void **stream) { return made(MAKE_STREAM, 0, stream); }
API int hipStreamCreateWithFlags(void **stream, unsigned flags) { return made(MAKE_STREAM, flags, stream); }
API int hipStreamDestroy(void *stream) { return simple(END_STREAM, HANDLE(stream), 0, NULL); }
API int hipStreamSynchronize(void *stream) { return simple(SYNCHRONISE, HANDLE(stream), 0, NULL); }
API int hipStreamBeginCapture(void *stream, int mode) { return simple(BEGIN_CAPTURE, HANDLE(stream), (uint64_t)mode, NULL); }
API int hipStreamEndCapture(void *stream, void **graph) { return made(END_CAPTURE, HANDLE(stream), graph); }

API int hipGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    (void)flags;
    return made(INSTANTIATE, HANDLE(graph), executable);
}

API int hipGraphInstantiate(void **executable, void *graph, void **node, char *log, size_t size) {
    (void)node, (void)log, (void)size;
    return made(INSTANTIATE, HANDLE(graph), executable);
}

API int hipGraphLaunch(void *executable, void *stream) { return simple(REPLAY, HANDLE(executable), HANDLE(stream), NULL); }
API int hipGraphExecDestroy(void *executable) { return simple(END_EXECUTABLE, HANDLE(executable), 0, NULL); }
API int hipGraphDestroy(void *graph) { return simple(END_GRAPH, HANDLE(graph), 0, NULL); }
API int hipEventCreateWithFlags(void **event, unsigned flags) { return made(MAKE_EVENT, flags, event); }
API int hipEventDestroy(void *event) { return simple(END_EVENT, HANDLE(event), 0, NULL); }
API int hipEventRecord(void *event, void *stream) { return simple(RECORD, HANDLE(event), HANDLE(stream), NULL); }
API int hipEventSynchronize(void *event) { return simple(WAIT_EVENT, HANDLE(event), 0, NULL); }

API int hipEventElapsedTime(float *milliseconds, void *start_event, void *end_event) {
    uint64_t nanoseconds = 0;
    if (milliseconds == NULL)
        return INVALID_VALUE;
    int code = simple(ELAPSED, HANDLE(start_event), HANDLE(end_event), &nanoseconds);
    *milliseconds = (float)nanoseconds / 1e6f;
    return code;
}
