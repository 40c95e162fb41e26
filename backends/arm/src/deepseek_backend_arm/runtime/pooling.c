/* Pooling and reductions over codes. Sums are exact; the mean is rounded once. */
#include "args.h"
#include "internal.h"

typedef struct {
    int y0, y1, x0, x1, counted;
} window;

/* Kernel elements inside the input, as a range of each axis, and by how many a mean divides. */
static window window_at(const ds_pool2d_args *a, int oy, int ox) {
    window w = {a->kh, 0, a->kw, 0, 0};
    int rows = 0, columns = 0;
    for (int k = 0; k < a->kh; k++) {
        int iy = oy * a->sh - a->top + k * a->dh;
        if (iy >= -a->top && iy < a->h + a->bottom) rows++;
        if (iy < 0 || iy >= a->h) continue;
        if (k < w.y0) w.y0 = k;
        w.y1 = k + 1;
    }
    for (int k = 0; k < a->kw; k++) {
        int ix = ox * a->sw - a->left + k * a->dw;
        if (ix >= -a->left && ix < a->w + a->right) columns++;
        if (ix < 0 || ix >= a->w) continue;
        if (k < w.x0) w.x0 = k;
        w.x1 = k + 1;
    }
    w.counted = a->include_pad ? rows * columns : (w.y1 - w.y0) * (w.x1 - w.x0);
    return w;
}

static const int8_t *tap(const ds_pool2d_args *a, const int8_t *image, int oy, int ox, int ky, int kx) {
    int iy = oy * a->sh - a->top + ky * a->dh, ix = ox * a->sw - a->left + kx * a->dw;
    return image + ((size_t)iy * (size_t)a->w + (size_t)ix) * (size_t)a->c;
}

static void largest(const ds_pool2d_args *a, const int8_t *image, int oy, int ox, window w, int8_t *y) {
    int c = 0;
#if DS_HAS_NEON
    for (; c + 16 <= a->c; c += 16) {
        int8x16_t best = vdupq_n_s8(-128);
        for (int ky = w.y0; ky < w.y1; ky++) {
            const int8_t *x = tap(a, image, oy, ox, ky, w.x0) + c;
            for (int kx = w.x0; kx < w.x1; kx++, x += (ptrdiff_t)a->dw * a->c) best = vmaxq_s8(best, vld1q_s8(x));
        }
        vst1q_s8(y + c, best);
    }
#endif
    for (; c < a->c; c++) {
        int8_t best = -128;
        for (int ky = w.y0; ky < w.y1; ky++) {
            for (int kx = w.x0; kx < w.x1; kx++) {
                int8_t code = tap(a, image, oy, ox, ky, kx)[c];
                best = code > best ? code : best;
            }
        }
        y[c] = best;
    }
}

static void mean(const ds_pool2d_args *a, const int8_t *image, int oy, int ox, window w, int32_t *sums, int8_t *y) {
    memset(sums, 0, (size_t)a->c * 4);
    for (int ky = w.y0; ky < w.y1; ky++) {
        for (int kx = w.x0; kx < w.x1; kx++) {
            const int8_t *x = tap(a, image, oy, ox, ky, kx);
            for (int c = 0; c < a->c; c++) sums[c] += x[c];
        }
    }
    int32_t offset = (w.y1 - w.y0) * (w.x1 - w.x0) * a->x_zero;
    for (int c = 0; c < a->c; c++) {
        float real = (float)(sums[c] - offset) * a->x_scale / (float)w.counted;
        y[c] = (int8_t)ds_code(real / a->y_scale, a->zero, -128, 127);
    }
}

static void pool_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    const ds_pool2d_args *a = arguments;
    int32_t *sums = (int32_t *)(void *)(context->scratch + (size_t)thread * context->scratch_size);
    for (int row = begin; row < end; row++) {
        const int8_t *image = (const int8_t *)ds_at(context, a->x) + (size_t)(row / a->oh) * (size_t)a->h * (size_t)a->w * (size_t)a->c;
        for (int ox = 0; ox < a->ow; ox++) {
            int8_t *y = (int8_t *)ds_at(context, a->y) + ((size_t)row * (size_t)a->ow + (size_t)ox) * (size_t)a->c;
            window w = window_at(a, row % a->oh, ox);
            if (a->mean) mean(a, image, row % a->oh, ox, w, sums, y);
            else largest(a, image, row % a->oh, ox, w, y);
        }
    }
}

void ds_pool2d(ds_context *context, const void *arguments) {
    const ds_pool2d_args *a = arguments;
    ds_parallel(context, a->n * a->oh, 1, pool_rows, a);
}

enum { MEAN, SUM, LARGEST, SMALLEST };

static void reduce_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_reduce_args *a = arguments;
    for (int row = begin; row < end; row++) {
        const int8_t *x = (const int8_t *)ds_at(context, a->x) + (size_t)row * (size_t)a->count;
        int64_t sum = 0;
        int best = x[0];
        for (int i = 0; i < a->count; i++) {
            sum += x[i] - a->x_zero;
            if (a->op == SMALLEST ? x[i] < best : x[i] > best) best = x[i];
        }
        float real = a->op >= LARGEST ? (float)(best - a->x_zero) * a->x_scale : (float)sum * a->x_scale;
        if (a->op == MEAN) real /= (float)a->count;
        ((int8_t *)ds_at(context, a->y))[row] = (int8_t)ds_code(real / a->y_scale, a->zero, -128, 127);
    }
}

/* [outer, count] to [outer]. */
void ds_reduce(ds_context *context, const void *arguments) {
    const ds_reduce_args *a = arguments;
    ds_parallel(context, a->outer, 1, reduce_rows, a);
}
