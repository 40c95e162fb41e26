/* Opening and running a model. */
#include "internal.h"

#include <stdlib.h>

#if defined(__linux__) && defined(__aarch64__)
#include <sys/auxv.h>
#endif

enum { AT_HWCAP_ID = 16, AT_HWCAP2_ID = 26, HALF_BIT = 10, DOTPROD_BIT = 20, I8MM_BIT = 13, ALIGNMENT = 64, SLACK = 64 };

ds_level ds_cpu(void) {
#if defined(__linux__) && defined(__aarch64__)
    if (getauxval(AT_HWCAP2_ID) >> I8MM_BIT & 1) return DS_I8MM;
    if (getauxval(AT_HWCAP_ID) >> DOTPROD_BIT & 1) return DS_DOTPROD;
#endif
    return DS_NEON;
}

static bool has_half(void) {
#if defined(__linux__) && defined(__aarch64__) && !defined(DS_PORTABLE)
    return getauxval(AT_HWCAP_ID) >> HALF_BIT & 1;
#else
    return false;
#endif
}

const char *ds_level_name(ds_level level) {
    static const char *const names[DS_LEVELS] = {"neon", "dotprod", "i8mm"};
    return names[level];
}

static uint8_t *memory(size_t size) {
    size_t whole = (size + SLACK + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    uint8_t *found = aligned_alloc(ALIGNMENT, whole);
    if (found != NULL) memset(found, 0, whole);
    return found;
}

ds_context *ds_open(const ds_model *model, int threads) {
    if (threads < 1 || threads > DS_MOST_THREADS || (int)ds_cpu() < model->level) return NULL;
    ds_context *context = calloc(1, sizeof *context);
    if (context == NULL) return NULL;
    context->model = model;
    context->constants = model->constants;
    context->level = ds_cpu();
    context->half = has_half();
    context->scratch_size = ((size_t)model->scratch + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    context->arena = memory((size_t)model->arena);
    context->scratch = memory(context->scratch_size * (size_t)threads);
    if (context->arena == NULL || context->scratch == NULL || (threads > 1 && ds_pool_open(context, threads) == NULL)) {
        ds_close(context);
        return NULL;
    }
    for (int i = 0; i < model->packs_count; i++) {
        const ds_pack *pack = &model->packs[i];
        ds_level level = pack->offset & 1 && context->level > DS_DOTPROD ? DS_DOTPROD : context->level;
        ds_gemm_order(level, (int8_t *)model->constants + (pack->offset & ~1), (size_t)pack->bytes);
    }
    return context;
}

void *ds_data(const ds_context *context, const ds_tensor *tensor) { return ds_at(context, tensor->place); }

int ds_run(ds_context *context) {
    const ds_model *model = context->model;
    context->failure = 0;
    for (context->next = 0; context->next < model->steps_count;) {
        const ds_step *step = &model->steps[context->next++];
        step->kernel(context, step->arguments);
    }
    return context->failure;
}

void ds_close(ds_context *context) {
    if (context == NULL) return;
    ds_pool_close(context->pool);
    free(context->arena);
    free(context->scratch);
    free(context);
}
