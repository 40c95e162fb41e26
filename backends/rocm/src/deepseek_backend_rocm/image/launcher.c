/* See launcher.h. Code objects are tried in turn: HIP refuses those of another architecture than the device's. */
#include "launcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hip_api.h"

enum { MOST_ARGUMENTS = 4096 };

struct ds_session {
    const ds_model *model;
    const ds_program *program;
    unsigned char *arena, *constants;
    hipModule_t *modules;
    hipFunction_t *functions;
    hipStream_t stream;
    hipGraph_t graph;
    hipGraphExec_t replay;
};

static char message[256];

static const char *failure(const char *what, hipError_t error) {
    snprintf(message, sizeof message, "%s: %s", what, hipGetErrorString(error));
    return message;
}

#define CHECK(what, call)                              \
    do {                                               \
        hipError_t error_ = (call);                    \
        if (error_ != hipSuccess)                      \
            return failure(what, error_);              \
    } while (0)

/* Load every code object that a program's kernels need. */
static hipError_t load(ds_session *s, const ds_program *program) {
    for (unsigned i = 0; i < program->kernel_count; i++) {
        const ds_kernel *kernel = &program->kernels[i];
        hipModule_t *module = &s->modules[kernel->code];
        hipError_t error = hipSuccess;
        if (*module == NULL)
            error = hipModuleLoadData(module, s->model->data + s->model->codes[kernel->code]);
        if (error == hipSuccess)
            error = hipModuleGetFunction(&s->functions[i], *module, kernel->symbol);
        if (error != hipSuccess)
            return error;
    }
    s->program = program;
    return hipSuccess;
}

static void unload(ds_session *s) {
    for (unsigned i = 0; s->modules != NULL && i < s->model->code_count; i++)
        if (s->modules[i] != NULL) {
            (void)hipModuleUnload(s->modules[i]);
            s->modules[i] = NULL;
        }
}

static const char *choose(ds_session *s) {
    hipError_t error = hipSuccess;
    for (unsigned i = 0; i < s->model->program_count; i++) {
        error = load(s, &s->model->programs[i]);
        if (error == hipSuccess)
            return NULL;
        unload(s);
    }
    int written = snprintf(message, sizeof message, "the device runs none of the architectures of this model (");
    for (unsigned i = 0; i < s->model->program_count && written < (int)sizeof message; i++)
        written += snprintf(message + written, sizeof message - written, "%s%s", i ? ", " : "",
                            s->model->programs[i].architecture);
    if (written < (int)sizeof message)
        snprintf(message + written, sizeof message - written, "): %s", hipGetErrorString(error));
    return message;
}

static const char *enqueue(ds_session *s) {
    unsigned char arguments[MOST_ARGUMENTS];
    for (unsigned i = 0; i < s->program->launch_count; i++) {
        const ds_launch *launch = &s->program->launches[i];
        const ds_kernel *kernel = &s->program->kernels[launch->kernel];
        size_t size = launch->size;
        void *extra[] = {HIP_LAUNCH_PARAM_BUFFER_POINTER, arguments, HIP_LAUNCH_PARAM_BUFFER_SIZE, &size,
                         HIP_LAUNCH_PARAM_END};
        memcpy(arguments, s->model->data + launch->arguments, size);
        for (unsigned j = 0; j < launch->count; j++) {
            const ds_pointer *pointer = &s->model->pointers[launch->first + j];
            uint64_t address = (uint64_t)(uintptr_t)((pointer->constant ? s->constants : s->arena) + pointer->offset);
            memcpy(arguments + pointer->position, &address, sizeof address);
        }
        CHECK("a kernel cannot be launched",
              hipModuleLaunchKernel(s->functions[launch->kernel], launch->grid[0], launch->grid[1], launch->grid[2],
                                    kernel->threads, 1, 1, kernel->shared, s->stream, NULL, extra));
    }
    return NULL;
}

static const char *capture(ds_session *s) {
    CHECK("a graph cannot be captured", hipStreamBeginCapture(s->stream, hipStreamCaptureModeGlobal));
    const char *wrong = enqueue(s);
    hipError_t error = hipStreamEndCapture(s->stream, &s->graph);
    if (wrong != NULL)
        return wrong;
    CHECK("a graph cannot be captured", error);
    CHECK("a graph cannot be made ready", hipGraphInstantiate(&s->replay, s->graph, NULL, NULL, 0));
    return NULL;
}

static size_t most_arena(const ds_model *model) {
    size_t most = 1;
    for (unsigned i = 0; i < model->program_count; i++)
        if (model->programs[i].arena > most)
            most = model->programs[i].arena;
    return most;
}

static unsigned most_kernels(const ds_model *model) {
    unsigned most = 1;
    for (unsigned i = 0; i < model->program_count; i++)
        if (model->programs[i].kernel_count > most)
            most = model->programs[i].kernel_count;
    return most;
}

static const char *prepare(ds_session *s, int device, int graph) {
    const ds_model *model = s->model;
    int count = 0;
    CHECK("HIP finds no device", hipGetDeviceCount(&count));
    if (device < 0 || device >= count)
        return "there is no such device";
    CHECK("the device cannot be used", hipSetDevice(device));
    s->modules = calloc(model->code_count + 1, sizeof *s->modules);
    s->functions = calloc(most_kernels(model), sizeof *s->functions);
    if (s->modules == NULL || s->functions == NULL)
        return "out of memory";
    const char *wrong = choose(s);
    if (wrong != NULL)
        return wrong;
    CHECK("no memory on the device", hipMalloc((void **)&s->arena, most_arena(model)));
    CHECK("no memory on the device", hipMalloc((void **)&s->constants, model->constants + 1));
    CHECK("constants cannot be copied", hipMemcpy(s->constants, model->data, model->constants, hipMemcpyHostToDevice));
    CHECK("a stream cannot be made", hipStreamCreate(&s->stream));
    return graph ? capture(s) : NULL;
}

const char *ds_open(ds_session **session, const ds_model *model, int device, int graph) {
    *session = calloc(1, sizeof **session);
    if (*session == NULL)
        return "out of memory";
    (*session)->model = model;
    const char *wrong = prepare(*session, device, graph);
    if (wrong != NULL) {
        ds_close(*session);
        *session = NULL;
    }
    return wrong;
}

const char *ds_architecture(const ds_session *s) { return s->program->architecture; }

const char *ds_run(ds_session *s, const void *const *inputs, void *const *outputs) {
    const ds_model *model = s->model;
    for (unsigned i = 0; i < model->input_count; i++)
        if (model->inputs[i].bytes)
            CHECK("an input cannot be copied", hipMemcpy(s->arena + model->inputs[i].offset, inputs[i],
                                                         model->inputs[i].bytes, hipMemcpyHostToDevice));
    if (s->replay != NULL) {
        CHECK("the graph cannot be launched", hipGraphLaunch(s->replay, s->stream));
    } else {
        const char *wrong = enqueue(s);
        if (wrong != NULL)
            return wrong;
    }
    CHECK("the device failed", hipStreamSynchronize(s->stream));
    for (unsigned i = 0; i < model->output_count; i++)
        if (model->outputs[i].bytes)
            CHECK("an output cannot be copied", hipMemcpy(outputs[i], s->arena + model->outputs[i].offset,
                                                          model->outputs[i].bytes, hipMemcpyDeviceToHost));
    return NULL;
}

void ds_close(ds_session *s) {
    if (s == NULL)
        return;
    if (s->replay != NULL)
        (void)hipGraphExecDestroy(s->replay);
    if (s->graph != NULL)
        (void)hipGraphDestroy(s->graph);
    if (s->stream != NULL)
        (void)hipStreamDestroy(s->stream);
    unload(s);
    if (s->arena != NULL)
        (void)hipFree(s->arena);
    if (s->constants != NULL)
        (void)hipFree(s->constants);
    free(s->modules);
    free(s->functions);
    free(s);
}
