/* Pooling and reductions over codes. Sums are exact; the mean is rounded once. */
#include "args.h"
#include "epilogue.h"

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

#if DS_HAS_NEON
/* The largest of sixteen channels. */
DS_INLINE void largest16(const ds_pool2d_args *a, const int8_t *image, int oy, int ox, window w, int c, int8_t *y) {
    int8x16_t best = vdupq_n_s8(-128);
    for (int ky = w.y0; ky < w.y1; ky++) {
        const int8_t *x = tap(a, image, oy, ox, ky, w.x0) + c;
        for (int kx = w.x0; kx < w.x1; kx++, x += (ptrdiff_t)a->dw * a->c) best = vmaxq_s8(best, vld1q_s8(x));
    }
    vst1q_s8(y + c, best);
}

/* Sums of int16 would overflow behind that many codes. */
enum { MOST_CODES = 255 };

/* Sums of sixteen channels, that begin with `offset`. */
DS_INLINE ds_sums16 summed16(const ds_pool2d_args *a, const int8_t *image, int oy, int ox, window w, int c,
                             int32_t offset) {
    int32x4_t begin = vdupq_n_s32(offset);
    ds_sums16 s = {{begin, begin, begin, begin}};
    int16x8_t low = vdupq_n_s16(0), high = low;
    int count = 0;
    for (int ky = w.y0; ky < w.y1; ky++) {
        const int8_t *x = tap(a, image, oy, ox, ky, w.x0) + c;
        for (int kx = w.x0; kx < w.x1; kx++, x += (ptrdiff_t)a->dw * a->c) {
            int8x16_t codes = vld1q_s8(x);
            low = vaddw_s8(low, vget_low_s8(codes));
            high = vaddw_high_s8(high, codes);
            if (++count % MOST_CODES) continue;
            ds_add16(&s, low, high);
            low = high = vdupq_n_s16(0);
        }
    }
    ds_add16(&s, low, high);
    return s;
}

DS_INLINE int32x4_t mean4(const ds_pool2d_args *a, int32x4_t sum, int counted) {
    float32x4_t real = vdivq_f32(vmulq_n_f32(vcvtq_f32_s32(sum), a->x_scale), vdupq_n_f32((float)counted));
    return vcvtnq_s32_f32(vdivq_f32(real, vdupq_n_f32(a->y_scale)));
}
#endif

static void largest(const ds_pool2d_args *a, const int8_t *image, int oy, int ox, window w, int8_t *y) {
    int c = 0;
#if DS_HAS_NEON
    for (; c + 16 <= a->c; c += 16) largest16(a, image, oy, ox, w, c, y);
    if (c < a->c && a->c >= 16) {
        largest16(a, image, oy, ox, w, a->c - 16, y);
        return;
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

static void mean(const ds_pool2d_args *a, const int8_t *image, int oy, int ox, window w, int8_t *y) {
    int32_t offset = -(w.y1 - w.y0) * (w.x1 - w.x0) * a->x_zero;
    int c = 0;
#if DS_HAS_NEON
    while (c < a->c && a->c >= 16) {
        if (c + 16 > a->c) c = a->c - 16;
        ds_sums16 s = summed16(a, image, oy, ox, w, c, offset);
        vst1q_s8(y + c, ds_narrow16(mean4(a, s.v[0], w.counted), mean4(a, s.v[1], w.counted), mean4(a, s.v[2], w.counted),
                                    mean4(a, s.v[3], w.counted), a->zero, -128, 127));
        c += 16;
    }
#endif
    for (; c < a->c; c++) {
        int32_t sum = offset;
        for (int ky = w.y0; ky < w.y1; ky++)
            for (int kx = w.x0; kx < w.x1; kx++) sum += tap(a, image, oy, ox, ky, kx)[c];
        float real = (float)sum * a->x_scale / (float)w.counted;
        y[c] = (int8_t)ds_code(real / a->y_scale, a->zero, -128, 127);
    }
}

static void pool_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_pool2d_args *a = arguments;
    for (int row = begin; row < end; row++) {
        const int8_t *image = (const int8_t *)ds_at(context, a->x) + (size_t)(row / a->oh) * (size_t)a->h * (size_t)a->w * (size_t)a->c;
        for (int ox = 0; ox < a->ow; ox++) {
            int8_t *y = (int8_t *)ds_at(context, a->y) + ((size_t)row * (size_t)a->ow + (size_t)ox) * (size_t)a->c;
            window w = window_at(a, row % a->oh, ox);
            if (a->mean) mean(a, image, row % a->oh, ox, w, y);
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
