/* Models that come as words at run time: for the server, and for a host that loads the library itself. */
#ifndef DS_LOADER_H
#define DS_LOADER_H

#include <stddef.h>
#include <stdint.h>

enum { DS_OK, DS_BAD_PROGRAM, DS_NO_MEMORY, DS_NO_LEVEL, DS_FAILED };

/* Sizes of a program. The body has the packs (offset, bytes), the steps (kernel, its arguments), and the constants. */
typedef struct {
    int32_t threads, level, arena, scratch, constants, packs, steps, words;
} ds_sizes;

typedef struct ds_loaded ds_loaded;

/* Bytes of the body; negative when a size is. */
int64_t ds_body_size(const ds_sizes *sizes);
/* A status; *loaded is NULL unless it is DS_OK. The body is copied. */
int ds_load(ds_loaded **loaded, const ds_sizes *sizes, const void *body);
/* Bytes at a place of the arena, NULL when they lie outside. */
void *ds_bytes(const ds_loaded *loaded, int32_t place, int32_t size);
/* A status: DS_OK or DS_FAILED. */
int ds_execute(ds_loaded *loaded);
void ds_unload(ds_loaded *loaded);

#endif
