/* Data movement: strided copies, constants, and rows taken by index. Any element type. */
#include "args.h"
#include "internal.h"

typedef struct {
    uint8_t *y;
    const uint8_t *x;
} places;

static places places_of(ds_context *context, const ds_copy_args *a, int row) {
    ptrdiff_t from = a->x_offset, to = a->y_offset;
    for (int axis = a->rank - 2, rest = row; axis >= 0; rest /= a->dims[axis--]) {
        from += (ptrdiff_t)(rest % a->dims[axis]) * a->x_strides[axis];
        to += (ptrdiff_t)(rest % a->dims[axis]) * a->y_strides[axis];
    }
    return (places){ds_at(context, a->y) + to * a->size, ds_at(context, a->x) + from * a->size};
}

#define MOVE(type)                                                                                         \
    for (int i = 0; i < count; i++) ((type *)(void *)p.y)[(ptrdiff_t)i * dy] = ((const type *)(const void *)p.x)[(ptrdiff_t)i * dx]

static void copy_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_copy_args *a = arguments;
    int count = a->dims[a->rank - 1], dx = a->x_strides[a->rank - 1], dy = a->y_strides[a->rank - 1];
    for (int row = begin; row < end; row++) {
        places p = places_of(context, a, row);
        if (dx == 1 && dy == 1) memcpy(p.y, p.x, (size_t)count * (size_t)a->size);
        else if (a->size == 1) MOVE(uint8_t);
        else if (a->size == 2) MOVE(uint16_t);
        else if (a->size == 4) MOVE(uint32_t);
        else MOVE(uint64_t);
    }
}

#if DS_HAS_NEON
/* Three planes of codes to pixels of three, as an image comes in. */
static void interleave(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_copy_args *a = arguments;
    const uint8_t *x = ds_at(context, a->x) + a->x_offset;
    uint8_t *y = ds_at(context, a->y) + a->y_offset;
    ptrdiff_t plane = a->x_strides[1];
    int i = begin;
    for (; i + 16 <= end; i += 16) {
        uint8x16x3_t pixels = {{vld1q_u8(x + i), vld1q_u8(x + plane + i), vld1q_u8(x + 2 * plane + i)}};
        vst3q_u8(y + 3 * (ptrdiff_t)i, pixels);
    }
    for (; i < end; i++)
        for (int c = 0; c < 3; c++) y[3 * (ptrdiff_t)i + c] = x[c * plane + i];
}

static bool interleaves(const ds_copy_args *a) {
    return a->size == 1 && a->rank == 2 && a->dims[1] == 3 && a->x_strides[0] == 1 && a->y_strides[0] == 3 && a->y_strides[1] == 1;
}
#endif

/* Strides and offsets count elements; those of x may be 0 or negative. */
void ds_copy(ds_context *context, const void *arguments) {
    const ds_copy_args *a = arguments;
#if DS_HAS_NEON
    if (interleaves(a)) {
        ds_parallel(context, a->dims[0], 1024, interleave, a);
        return;
    }
#endif
    int rows = 1;
    for (int axis = 0; axis + 1 < a->rank; axis++) rows *= a->dims[axis];
    if (a->dims[a->rank - 1] > 0) ds_parallel(context, rows, 16, copy_rows, a);
}

void ds_fill(ds_context *context, const void *arguments) {
    const ds_fill_args *a = arguments;
    uint8_t *y = ds_at(context, a->y);
    if (a->size == 1) {
        memset(y, a->value, (size_t)a->count);
        return;
    }
    for (int i = 0; i < a->count; i++) {
        for (int part = 0; part < a->size; part += 4) memcpy(y + (size_t)i * (size_t)a->size + part, part ? &a->high : &a->value, a->size < 4 ? (size_t)a->size : 4);
    }
}

/* x [outer, axis, inner], indices [count] → y [outer, count, inner]; an index beyond the axis takes its nearest end. */
void ds_gather(ds_context *context, const void *arguments) {
    const ds_gather_args *a = arguments;
    const uint8_t *x = ds_at(context, a->x), *indices = ds_at(context, a->indices);
    uint8_t *y = ds_at(context, a->y);
    size_t bytes = (size_t)a->inner * (size_t)a->size;
    for (int o = 0; o < a->outer; o++) {
        for (int i = 0; i < a->count; i++, y += bytes) {
            int64_t index;
            if (a->wide) {
                memcpy(&index, indices + (size_t)i * 8, 8);
            } else {
                int32_t narrow;
                memcpy(&narrow, indices + (size_t)i * 4, 4);
                index = narrow;
            }
            if (index < 0) index += a->axis;
            if (index < 0) index = 0;
            if (index >= a->axis) index = a->axis - 1;
            memcpy(y, x + ((size_t)o * (size_t)a->axis + (size_t)index) * bytes, bytes);
        }
    }
}
