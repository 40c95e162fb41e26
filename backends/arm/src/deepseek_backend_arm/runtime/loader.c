/* Links a program's steps to the kernels that they name. */
#include "loader.h"

#include <stdlib.h>

#include "args.h"
#include "internal.h"
#include "linked.h"

static const struct {
    ds_kernel kernel;
    int words;
} kernels[] = {
#include "kernels.inc"
};

struct ds_loaded {
    ds_context *context;
    ds_model model;
    int32_t *words;
    ds_step *steps;
    ds_pack *packs;
    uint8_t *constants;
};

static size_t packs_size(const ds_sizes *s) { return (size_t)s->packs * sizeof(ds_pack); }

int64_t ds_body_size(const ds_sizes *s) {
    if (s->arena < 0 || s->scratch < 0 || s->constants < 0 || s->packs < 0 || s->steps < 0 || s->words < 0) return -1;
    return (int64_t)packs_size(s) + (int64_t)s->words * 4 + s->constants;
}

/* Room for reading past the end, as vectors do. */
static void *copy(const uint8_t **from, size_t size) {
    size_t whole = (size + 127) / 64 * 64;
    uint8_t *found = aligned_alloc(64, whole);
    if (found == NULL) return NULL;
    memset(found, 0, whole);
    if (*from != NULL) {
        memcpy(found, *from, size);
        *from += size;
    }
    return found;
}

static bool is_linked(const ds_call_args *call) { return call->function >= 0 && call->function < ds_linked_count; }

static bool link_steps(ds_loaded *l, const ds_sizes *s) {
    int at = 0;
    for (int i = 0; i < s->steps; i++) {
        if (at >= s->words) return false;
        int kernel = l->words[at++];
        if (kernel < 0 || kernel >= (int)(sizeof kernels / sizeof *kernels)) return false;
        if (kernels[kernel].words > s->words - at) return false;
        if (kernels[kernel].kernel == ds_call && !is_linked((const void *)(l->words + at))) return false;
        l->steps[i] = (ds_step){kernels[kernel].kernel, l->words + at};
        at += kernels[kernel].words;
    }
    for (int i = 0; i < s->packs; i++) {
        const ds_pack *pack = &l->packs[i];
        if (pack->offset < 0 || pack->bytes < 0 || pack->bytes > s->constants - (pack->offset & ~1)) return false;
    }
    return at == s->words;
}

static int open_model(ds_loaded *l, const ds_sizes *s, const uint8_t *body) {
    const uint8_t *nothing = NULL;
    l->packs = copy(&body, packs_size(s));
    l->words = copy(&body, (size_t)s->words * 4);
    l->constants = copy(&body, (size_t)s->constants);
    l->steps = copy(&nothing, (size_t)s->steps * sizeof *l->steps);
    if (!l->packs || !l->words || !l->constants || !l->steps) return DS_NO_MEMORY;
    if (!link_steps(l, s)) return DS_BAD_PROGRAM;
    l->model = (ds_model){.name = "", .hash = "", .target = "", .level = s->level, .arena = s->arena,
                          .scratch = s->scratch, .steps_count = s->steps, .packs_count = s->packs,
                          .constants_size = s->constants, .steps = l->steps, .packs = l->packs,
                          .constants = l->constants};
    l->context = ds_open(&l->model, s->threads);
    return l->context == NULL ? DS_NO_MEMORY : DS_OK;
}

int ds_load(ds_loaded **loaded, const ds_sizes *sizes, const void *body) {
    *loaded = NULL;
    if ((int)ds_cpu() < sizes->level) return DS_NO_LEVEL;
    if (ds_body_size(sizes) < 0) return DS_BAD_PROGRAM;
    ds_loaded *found = calloc(1, sizeof *found);
    if (found == NULL) return DS_NO_MEMORY;
    int status = open_model(found, sizes, body);
    if (status != DS_OK) {
        ds_unload(found);
        return status;
    }
    *loaded = found;
    return DS_OK;
}

void *ds_bytes(const ds_loaded *l, int32_t place, int32_t size) {
    if (place < 0 || size < 0 || place & 1 || (int64_t)place + size > l->model.arena) return NULL;
    return ds_at(l->context, place);
}

int ds_execute(ds_loaded *loaded) { return ds_run(loaded->context) == 0 ? DS_OK : DS_FAILED; }

void ds_unload(ds_loaded *l) {
    if (l == NULL) return;
    ds_close(l->context);
    free(l->words);
    free(l->steps);
    free(l->packs);
    free(l->constants);
    free(l);
}
