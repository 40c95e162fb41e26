/* Matrix products and convolutions of real numbers: rows for the kernel of real_gemm.c. NHWC. */
#include "args.h"
#include "real_gemm.h"
#include "window.h"

enum { ROWS_BYTES = (DS_ROWS + 2) * sizeof(float *) };

static uint8_t *scratch_of(const ds_context *context, int thread) {
    return context->scratch + (size_t)thread * context->scratch_size;
}

static const float *reals(const ds_context *context, int32_t place) {
    return place == DS_NOWHERE ? NULL : (const float *)(const void *)ds_at(context, place);
}

static const uint8_t *matrix_of(const ds_rmatmul_args *a, const uint8_t *b, int batch) {
    size_t size = a->kept == DS_B_REAL ? sizeof(float) : a->kept == DS_B_HALF || a->kept == DS_B_HALF_SUMS ? 2 : 1;
    return b + (size_t)batch * (size_t)a->b_batch * size;
}

static void product_blocks(ds_context *context, const void *arguments, int thread, int begin, int end) {
    const ds_rmatmul_args *a = arguments;
    int blocks = (a->m + DS_ROWS - 1) / DS_ROWS;
    const float **rows = (const float **)(void *)scratch_of(context, thread);
    const uint8_t *b = ds_at(context, a->b);
    ds_rgemm g = {.b_row = a->b_row, .b_panel = a->b_panel, .kept = ds_kept_here(context, a->kept), .scale = reals(context, a->scale),
                  .zero = reals(context, a->zero), .block = a->block, .bias = reals(context, a->bias), .low = a->low,
                  .high = a->high, .depth = a->k, .columns = a->n, .pitch = a->n,
                  .space = (float *)(void *)(scratch_of(context, thread) + ROWS_BYTES)};
    for (int block = begin; block < end; block++) {
        int batch = block / blocks, first = block % blocks * DS_ROWS, count = a->m - first < DS_ROWS ? a->m - first : DS_ROWS;
        const float *x = reals(context, a->a) + (size_t)batch * (size_t)a->a_batch;
        for (int i = 0; i < count; i++) rows[i] = x + (size_t)(first + i) * (size_t)a->k;
        g.b = matrix_of(a, b, batch);
        size_t place = ((size_t)batch * (size_t)a->m + (size_t)first) * (size_t)a->n;
        ds_rgemm_run(&g, rows, count, (float *)(void *)ds_at(context, a->y) + place);
    }
}

/* a [batch, m, k] times b [batch, k, n]; a side whose step from batch to batch is 0 is the same in all of them. */
void ds_rmatmul(ds_context *context, const void *arguments) {
    const ds_rmatmul_args *a = arguments;
    if (a->n > 0) ds_parallel(context, a->batch * ((a->m + DS_ROWS - 1) / DS_ROWS), 1, product_blocks, a);
}

static void positions(ds_context *context, const void *arguments, int thread, int begin, int end) {
    const ds_rconv_args *a = arguments;
    const ds_window window = DS_WINDOW_OF(a, (int)sizeof(float), a->groups, 0);
    const float **rows = (const float **)(void *)scratch_of(context, thread);
    uint8_t *columns = scratch_of(context, thread) + ROWS_BYTES;
    int channels = a->oc / a->groups, panels = (channels + DS_COLUMNS - 1) / DS_COLUMNS;
    long panel = (long)a->depth * DS_COLUMNS;
    size_t size = a->kept == DS_B_REAL ? sizeof(float) : 2, row = (size_t)a->depth * sizeof(float);
    ds_rgemm g = {.b_row = DS_COLUMNS, .b_panel = panel, .kept = ds_kept_here(context, a->kept), .low = a->low, .high = a->high,
                  .depth = a->depth, .columns = channels, .pitch = a->oc, .space = (float *)(void *)(columns + DS_ROWS * row)};
    for (int first = begin; first < end; first += DS_ROWS) {
        int count = end - first < DS_ROWS ? end - first : DS_ROWS;
        for (int group = 0; group < a->groups; group++) {
            const uint8_t *x = ds_at(context, a->x) + (size_t)group * (size_t)window.channels;
            for (int i = 0; i < count; i++)
                rows[i] = (const float *)(const void *)ds_window_row(&window, x, first + i, columns + (size_t)i * row);
            g.b = ds_at(context, a->weights) + (size_t)group * (size_t)panels * (size_t)panel * size;
            g.bias = a->bias == DS_NOWHERE ? NULL : reals(context, a->bias) + group * channels;
            size_t place = (size_t)first * (size_t)a->oc + (size_t)(group * channels);
            ds_rgemm_run(&g, rows, count, (float *)(void *)ds_at(context, a->y) + place);
        }
    }
}

void ds_rconv(ds_context *context, const void *arguments) {
    const ds_rconv_args *a = arguments;
    ds_parallel(context, a->n * a->oh * a->ow, DS_ROWS, positions, a);
}

/* One position, four channels: the kernel elements that lie on the input. */
DS_INLINE ds_v4 taps(const ds_rdepthwise_args *a, const float *image, const float *w, int y0, int x0, int c, int width) {
    ds_v4 sum = ds_all(0.0f);
    for (int ky = 0; ky < a->kh; ky++) {
        int iy = y0 + ky * a->dh;
        if (iy < 0 || iy >= a->h) continue;
        for (int kx = 0; kx < a->kw; kx++) {
            int ix = x0 + kx * a->dw;
            if (ix < 0 || ix >= a->w) continue;
            const float *x = image + ((size_t)iy * (size_t)a->w + (size_t)ix) * (size_t)a->c + c;
            const float *tap = w + (size_t)(ky * a->kw + kx) * (size_t)a->c + c;
            if (width == 4) sum = ds_fma(ds_load(x), ds_load(tap), sum);
            else sum = ds_fma(ds_load_few(x, width), ds_load_few(tap, width), sum);
        }
    }
    return sum;
}

static void depthwise_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_rdepthwise_args *a = arguments;
    const float *w = reals(context, a->weights), *bias = reals(context, a->bias);
    for (int row = begin; row < end; row++) {
        const float *image = reals(context, a->x) + (size_t)(row / a->oh) * (size_t)a->h * (size_t)a->w * (size_t)a->c;
        float *y = (float *)(void *)ds_at(context, a->y) + (size_t)row * (size_t)a->ow * (size_t)a->c;
        int y0 = row % a->oh * a->sh - a->top;
        for (int ox = 0; ox < a->ow; ox++, y += a->c) {
            int x0 = ox * a->sw - a->left;
            for (int c = 0; c < a->c; c += 4) {
                int width = a->c - c < 4 ? a->c - c : 4;
                ds_v4 sum = width == 4 ? taps(a, image, w, y0, x0, c, 4) : taps(a, image, w, y0, x0, c, width);
                if (bias) sum += ds_load_few(bias + c, width);
                ds_store_few(y + c, ds_min(ds_max(sum, ds_all(a->low)), ds_all(a->high)), width);
            }
        }
    }
}

/* One output channel for each input channel; weights [kernel element][channel]. */
void ds_rdepthwise(ds_context *context, const void *arguments) {
    const ds_rdepthwise_args *a = arguments;
    ds_parallel(context, a->n * a->oh, 1, depthwise_rows, a);
}
