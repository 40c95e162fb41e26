/* Convolution and matrix products with constant weights: rows of codes gathered for the matrix kernels. NHWC. */
#include "args.h"
#include "internal.h"

typedef struct {
    const int8_t **rows;
    int8_t *columns; /* DS_ROWS rows of `depth` codes */
} workspace;

static workspace workspace_of(const ds_context *context, int thread) {
    uint8_t *start = context->scratch + (size_t)thread * context->scratch_size;
    return (workspace){(const int8_t **)(void *)start, (int8_t *)start + (DS_ROWS + 8) * sizeof(int8_t *)};
}

/* Whole vectors, the last one over part of what was there before: faster than memcpy for rows of a window. */
DS_INLINE void copy_codes(int8_t *out, const int8_t *x, size_t count) {
#if DS_HAS_NEON
    if (count >= 16) {
        size_t i = 0;
        for (; i + 64 <= count; i += 64) vst1q_s8_x4(out + i, vld1q_s8_x4(x + i));
        for (; i + 16 <= count; i += 16) vst1q_s8(out + i, vld1q_s8(x + i));
        if (i < count) vst1q_s8(out + count - 16, vld1q_s8(x + count - 16));
        return;
    }
#endif
    memcpy(out, x, count);
}

/* The codes of one group under the window at a position; where it reaches over the border, the code of 0. */
static void gather(const ds_conv_args *a, const int8_t *image, int oy, int ox, int channels, int8_t *out) {
    int left = ox * a->sw - a->left;
    bool dense = channels == a->c && a->dw == 1 && left >= 0 && left + a->kw <= a->w;
    for (int ky = 0; ky < a->kh; ky++) {
        int iy = oy * a->sh - a->top + ky * a->dh;
        size_t taps = (size_t)a->kw * (size_t)channels;
        if (iy < 0 || iy >= a->h) {
            memset(out, a->x_zero, taps);
            out += taps;
            continue;
        }
        const int8_t *row = image + (size_t)iy * (size_t)a->w * (size_t)a->c;
        if (dense) {
            copy_codes(out, row + (size_t)left * (size_t)a->c, taps);
            out += taps;
            continue;
        }
        for (int kx = 0; kx < a->kw; kx++, out += channels) {
            int ix = left + kx * a->dw;
            if (ix < 0 || ix >= a->w) memset(out, a->x_zero, (size_t)channels);
            else copy_codes(out, row + (size_t)ix * (size_t)a->c, (size_t)channels);
        }
    }
}

static const int8_t *row_of(const ds_conv_args *a, const int8_t *x, int position, int channels, int8_t *out) {
    int per_image = a->oh * a->ow, n = position / per_image, within = position % per_image;
    const int8_t *image = x + (size_t)n * (size_t)a->h * (size_t)a->w * (size_t)a->c;
    int oy = within / a->ow, ox = within % a->ow;
    if (a->pointwise) return image + ((size_t)(oy * a->sh) * (size_t)a->w + (size_t)(ox * a->sw)) * (size_t)a->c;
    gather(a, image, oy, ox, channels, out);
    return out;
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
        .zero = a->zero, .low = a->low, .high = a->high, .wide = a->wide,
        .tight = a->tight == DS_NOWHERE ? NULL : ds_at(context, a->tight) + (size_t)(group * (padded / 4)) * (size_t)(a->depth / 32),
        .addend = adds ? (const int8_t *)ds_at(context, a->addend) + place : NULL,
        .own_scale = a->own_scale, .addend_scale = a->addend_scale, .sum_scale = a->sum_scale,
        .addend_zero = a->addend_zero, .sum_zero = a->sum_zero, .sum_low = a->sum_low, .sum_high = a->sum_high,
    };
}

static void positions(ds_context *context, const void *arguments, int thread, int begin, int end) {
    const ds_conv_args *a = arguments;
    workspace space = workspace_of(context, thread);
    const int8_t *x = (const int8_t *)ds_at(context, a->x);
    int8_t *y = (int8_t *)ds_at(context, a->y);
    int channels = a->c / a->groups;
    for (int first = begin; first < end; first += DS_ROWS) {
        int count = end - first < DS_ROWS ? end - first : DS_ROWS;
        for (int group = 0; group < a->groups; group++) {
            for (int i = 0; i < count; i++)
                space.rows[i] = row_of(a, x + group * channels, first + i, channels, space.columns + i * a->depth);
            ds_gemm g = product(context, a, group, first);
            size_t place = (size_t)first * (size_t)a->oc + (size_t)(group * g.channels);
            ds_gemm_run(context->level, &g, space.rows, count, y + place);
        }
    }
}

void ds_conv(ds_context *context, const void *arguments) {
    const ds_conv_args *a = arguments;
    ds_parallel(context, a->n * a->oh * a->ow, DS_ROWS, positions, a);
}
