/* Convolution and matrix products with constant weights: rows of codes gathered for the matrix kernels. NHWC. */
#include "args.h"
#include "window.h"

enum { SLAB = 4 * DS_PANEL, GRAIN = 6, NARROW = 1, BY_DOT = 2 };

typedef struct {
    const int8_t **rows;
    uint8_t *columns; /* DS_ROWS rows of `depth` codes */
} workspace;

static workspace workspace_of(const ds_context *context, int thread) {
    uint8_t *start = context->scratch + (size_t)thread * context->scratch_size;
    return (workspace){(const int8_t **)(void *)start, start + (DS_ROWS + 8) * sizeof(int8_t *)};
}

static ds_gemm product(const ds_context *context, const ds_conv_args *a, int group, int position) {
    int channels = a->oc / a->groups, padded = (channels + 3) / 4 * 4;
    size_t place = (size_t)position * (size_t)a->oc + (size_t)(group * channels);
    bool adds = a->addend != DS_NOWHERE;
    return (ds_gemm){
        .weights = (const int8_t *)ds_at(context, a->weights) + (size_t)group * (size_t)padded * (size_t)a->depth,
        .bias = (const int32_t *)(const void *)ds_at(context, a->bias) + group * padded,
        .scale = (const float *)(const void *)ds_at(context, a->scale) + group * padded,
        .depth = a->depth, .channels = channels, .pitch = a->oc,
        .zero = a->zero, .low = a->low, .high = a->high, .wide = a->wide, .narrow = a->way & NARROW, .by_dot = a->way & BY_DOT,
        .tight = a->tight == DS_NOWHERE ? NULL : ds_at(context, a->tight) + (size_t)(group * (padded / 4)) * (size_t)(a->depth / 32),
        .addend = adds ? (const int8_t *)ds_at(context, a->addend) + place : NULL,
        .own_scale = a->own_scale, .addend_scale = a->addend_scale, .sum_scale = a->sum_scale,
        .addend_zero = a->addend_zero, .sum_zero = a->sum_zero, .sum_low = a->sum_low, .sum_high = a->sum_high,
        .real = a->real, .real_low = a->real_low, .real_high = a->real_high,
        .shift = a->shift == DS_NOWHERE ? NULL : (const float *)(const void *)ds_at(context, a->shift) + group * padded,
    };
}

/* The channels from `begin`, which starts a slab, up to `end`. */
static ds_gemm narrowed(ds_gemm g, int begin, int end) {
    g.weights += (size_t)begin * (size_t)g.depth;
    g.bias += begin;
    g.scale += begin;
    g.channels = end - begin;
    if (g.tight != NULL) g.tight += (size_t)(begin / DS_PANEL) * (size_t)(g.depth / 32);
    if (g.addend != NULL) g.addend += begin;
    if (g.shift != NULL) g.shift += begin;
    return g;
}

/* Rows of `count` positions: where they lie already, or gathered to `out`. Apart, and with a window of its own, so that its
   loops have the registers. */
static __attribute__((noinline)) void gather(const ds_window *window, const uint8_t *x, int first, int count, int depth,
                                             uint8_t *out, const int8_t **rows) {
    const ds_window w = *window;
    int per_image = w.oh * w.ow, within = first % per_image, oy = within / w.ow, ox = within % w.ow;
    size_t size = (size_t)w.h * (size_t)w.w * (size_t)w.c;
    const uint8_t *image = x + (size_t)(first / per_image) * size;
    for (int i = 0; i < count; i++) {
        if (w.pointwise) {
            rows[i] = (const int8_t *)ds_window_place(&w, image, oy, ox);
        } else {
            ds_gather_window(&w, image, oy, ox, out);
            rows[i] = (const int8_t *)out;
            out += depth;
        }
        if (++ox < w.ow) continue;
        ox = 0;
        if (++oy < w.oh) continue;
        oy = 0;
        image += size;
    }
}

typedef struct {
    int begin, end;
} range;

static void multiply(ds_context *context, const ds_conv_args *a, int thread, range positions, range channels) {
    workspace space = workspace_of(context, thread);
    const ds_window window = DS_WINDOW_OF(a, 1, a->groups, a->x_zero);
    const uint8_t *x = ds_at(context, a->x);
    uint8_t *y = ds_at(context, a->y);
    for (int first = positions.begin; first < positions.end; first += DS_ROWS) {
        int count = positions.end - first < DS_ROWS ? positions.end - first : DS_ROWS;
        for (int group = 0; group < a->groups; group++) {
            gather(&window, x + group * window.channels, first, count, a->depth, space.columns, space.rows);
            ds_gemm g = narrowed(product(context, a, group, first), channels.begin, channels.end);
            size_t place = (size_t)first * (size_t)a->oc + (size_t)(group * (a->oc / a->groups) + channels.begin);
            ds_gemm_run(context->level, &g, space.rows, count, y + (g.real ? place * sizeof(float) : place));
        }
    }
}

static void by_positions(ds_context *context, const void *arguments, int thread, int begin, int end) {
    const ds_conv_args *a = arguments;
    multiply(context, a, thread, (range){begin, end}, (range){0, a->oc / a->groups});
}

static void by_channels(ds_context *context, const void *arguments, int thread, int begin, int end) {
    const ds_conv_args *a = arguments;
    multiply(context, a, thread, (range){0, a->n * a->oh * a->ow}, (range){begin, end});
}

/* What the busiest thread has of `count`, which is shared in pieces of `grain`. */
static int64_t most(int count, int grain, int threads) {
    int pieces = (count + grain - 1) / grain, share = (pieces + threads - 1) / threads * grain;
    return share < count ? share : count;
}

/* Each thread takes some of the positions, or some of the channels where that is more even, although each of them gathers
   all rows then: about the work of two channels. */
void ds_conv(ds_context *context, const void *arguments) {
    const ds_conv_args *a = arguments;
    int positions = a->n * a->oh * a->ow, channels = a->oc / a->groups, threads = ds_threads(context);
    int gathering = a->pointwise ? 0 : 2;
    if ((most(channels, SLAB, threads) + gathering) * positions < most(positions, GRAIN, threads) * (channels + gathering))
        ds_parallel(context, channels, SLAB, by_channels, a);
    else
        ds_parallel(context, positions, GRAIN, by_positions, a);
}
