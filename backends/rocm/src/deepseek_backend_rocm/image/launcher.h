/* Runs a compiled model over HIP's module API. One session belongs to one thread at a time. */
#ifndef DS_LAUNCHER_H
#define DS_LAUNCHER_H

#include <stddef.h>
#include <stdint.h>

/* An input or output, in C order: where it lies in the arena, and how it is described. */
typedef struct {
    const char *name, *type;
    size_t offset, bytes;
    int rank;
    int64_t shape[8];
} ds_port;

/* A kernel in a code object. */
typedef struct {
    const char *symbol;
    unsigned code, threads, shared;
} ds_kernel;

/* An address among the arguments of a launch; `constant` says which of the two spaces its offset counts in. */
typedef struct {
    unsigned position, constant;
    size_t offset;
} ds_pointer;

/* A launch: `size` bytes of arguments from `arguments` on, in which `count` pointers from `first` on are written. */
typedef struct {
    unsigned kernel, grid[3];
    size_t arguments;
    unsigned size, first, count;
} ds_launch;

/* The launches for one architecture. */
typedef struct {
    const char *architecture;
    size_t arena;
    const ds_kernel *kernels;
    const ds_launch *launches;
    unsigned kernel_count, launch_count;
} ds_program;

/* The model; `data` has the constants first, then code objects and arguments. */
typedef struct {
    const char *name;
    const ds_port *inputs, *outputs;
    const ds_program *programs;
    const ds_pointer *pointers;
    const size_t *codes;
    const unsigned char *data;
    size_t constants;
    unsigned input_count, output_count, program_count, code_count;
} ds_model;

extern const ds_model ds_the_model;

typedef struct ds_session ds_session;

/* Open the model on a device; with `graph` the launches are captured once and replayed. NULL, or what is wrong. */
const char *ds_open(ds_session **session, const ds_model *model, int device, int graph);

/* The architecture whose kernels run. */
const char *ds_architecture(const ds_session *session);

/* One inference; arrays in the order of the model's ports. NULL, or what is wrong. */
const char *ds_run(ds_session *session, const void *const *inputs, void *const *outputs);

/* Release everything; NULL is allowed. */
void ds_close(ds_session *session);

#endif
