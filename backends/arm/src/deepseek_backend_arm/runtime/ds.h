/* A compiled model and what runs it. Plain C11; nothing is allocated after ds_open. */
#ifndef DS_H
#define DS_H

#include <stddef.h>
#include <stdint.h>

enum { DS_RANK = 8 };

typedef enum { DS_FLOAT32, DS_INT8, DS_UINT8, DS_INT32, DS_INT64, DS_BOOL, DS_FLOAT16, DS_TYPES } ds_type;

/* Instruction sets, by what multiplies int8: smull and sadalp, sdot, smmla. */
typedef enum { DS_NEON, DS_DOTPROD, DS_I8MM, DS_LEVELS } ds_level;

enum { DS_IMPOSSIBLE = 1 };

typedef struct ds_context ds_context;

typedef void (*ds_kernel)(ds_context *, const void *arguments);

typedef struct {
    ds_kernel kernel;
    const void *arguments;
} ds_step;

/* An input or output: where it lies in the arena, C order. */
typedef struct {
    const char *name;
    int32_t type;
    int32_t rank;
    int32_t dims[DS_RANK];
    int32_t place;
    int32_t bytes;
} ds_tensor;

/* Weights of matrix products, to be ordered for the CPU once. */
typedef struct {
    int32_t offset; /* its lowest bit is set where smmla is not to be used */
    int32_t bytes;
} ds_pack;

typedef struct {
    const char *name;
    const char *hash;
    const char *target;
    const char *description; /* the same and more for programs, see image_file.py of deepseek-core */
    int32_t level; /* lowest instruction set that may run it */
    int32_t arena, scratch;
    int32_t inputs_count, outputs_count, steps_count, packs_count;
    int32_t constants_size;
    const ds_tensor *inputs, *outputs;
    const ds_step *steps;
    const ds_pack *packs;
    uint64_t checksum; /* of the constants, eight bytes a number: the sum of each times twice its position, plus one */
    uint8_t *constants; /* writable: ds_open orders the packs in place */
} ds_model;

/* Best instruction set of this CPU. */
ds_level ds_cpu(void);
const char *ds_level_name(ds_level level);

/* NULL when memory or threads are short, or the CPU lacks what the model needs. A model is opened once per process. */
ds_context *ds_open(const ds_model *model, int threads);
void *ds_data(const ds_context *context, const ds_tensor *tensor);
/* 0, or DS_IMPOSSIBLE: the inputs led to a branch that their shapes rule out, and the outputs mean nothing. */
int ds_run(ds_context *context);
void ds_close(ds_context *context);

#endif
