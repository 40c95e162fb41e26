/* Pooling of real numbers. NHWC. */
#include "args.h"
#include "real.h"

typedef struct {
    int y0, x0, counted;
} window;

/* Elements that a mean divides by: those inside the input, or inside the padding too. */
static int counted(const ds_rpool_args *a, int start, int taps, int step, int size, int before, int behind) {
    int count = 0, low = a->include_pad ? -before : 0, high = a->include_pad ? size + behind : size;
    for (int k = 0; k < taps; k++) {
        int place = start + k * step;
        count += place >= low && place < high;
    }
    return count;
}

DS_INLINE ds_v4 pooled(const ds_rpool_args *a, const float *image, window w, int c, int width) {
    ds_v4 sum = ds_all(a->mean ? 0.0f : -INFINITY);
    for (int ky = 0; ky < a->kh; ky++) {
        int iy = w.y0 + ky * a->dh;
        if (iy < 0 || iy >= a->h) continue;
        for (int kx = 0; kx < a->kw; kx++) {
            int ix = w.x0 + kx * a->dw;
            if (ix < 0 || ix >= a->w) continue;
            const float *x = image + ((size_t)iy * (size_t)a->w + (size_t)ix) * (size_t)a->c + c;
            ds_v4 value = width == 4 ? ds_load(x) : ds_load_few(x, width);
            sum = a->mean ? sum + value : ds_max(sum, value);
        }
    }
    return a->mean ? sum / ds_all((float)w.counted) : sum;
}

static void pool_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_rpool_args *a = arguments;
    for (int row = begin; row < end; row++) {
        const float *image = (const float *)(const void *)ds_at(context, a->x) +
                             (size_t)(row / a->oh) * (size_t)a->h * (size_t)a->w * (size_t)a->c;
        float *y = (float *)(void *)ds_at(context, a->y) + (size_t)row * (size_t)a->ow * (size_t)a->c;
        window w = {.y0 = row % a->oh * a->sh - a->top};
        int rows = counted(a, w.y0, a->kh, a->dh, a->h, a->top, a->bottom);
        for (int ox = 0; ox < a->ow; ox++, y += a->c) {
            w.x0 = ox * a->sw - a->left;
            w.counted = rows * counted(a, w.x0, a->kw, a->dw, a->w, a->left, a->right);
            for (int c = 0; c < a->c; c += 4) {
                int width = a->c - c < 4 ? a->c - c : 4;
                ds_store_few(y + c, width == 4 ? pooled(a, image, w, c, 4) : pooled(a, image, w, c, width), width);
            }
        }
    }
}

void ds_rpool(ds_context *context, const void *arguments) {
    const ds_rpool_args *a = arguments;
    ds_parallel(context, a->n * a->oh, 1, pool_rows, a);
}
