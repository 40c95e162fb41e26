/* Softmax and layer normalization over the last axis, on codes; computed in float32. */
#include "args.h"
#include "internal.h"

static void softmax_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_softmax_args *a = arguments;
    const float *powers = (const float *)(const void *)ds_at(context, a->table);
    for (int row = begin; row < end; row++) {
        const int8_t *x = (const int8_t *)ds_at(context, a->x) + (size_t)row * (size_t)a->count;
        int8_t *y = (int8_t *)ds_at(context, a->y) + (size_t)row * (size_t)a->count;
        int largest = -128;
        for (int i = 0; i < a->count; i++) largest = x[i] > largest ? x[i] : largest;
        float sum = 0;
        for (int i = 0; i < a->count; i++) sum += powers[largest - x[i]];
        for (int i = 0; i < a->count; i++)
            y[i] = (int8_t)ds_code(powers[largest - x[i]] / sum / a->y_scale, a->zero, -128, 127);
    }
}

/* table[d] = exp(-d * scale of x) for the distance d of two codes. */
void ds_softmax(ds_context *context, const void *arguments) {
    const ds_softmax_args *a = arguments;
    ds_parallel(context, a->outer, 1, softmax_rows, a);
}

static void layernorm_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_layernorm_args *a = arguments;
    const float *gain = (const float *)(const void *)ds_at(context, a->gain);
    const float *shift = (const float *)(const void *)ds_at(context, a->shift);
    for (int row = begin; row < end; row++) {
        const int8_t *x = (const int8_t *)ds_at(context, a->x) + (size_t)row * (size_t)a->count;
        int8_t *y = (int8_t *)ds_at(context, a->y) + (size_t)row * (size_t)a->count;
        int64_t sum = 0, squares = 0;
        for (int i = 0; i < a->count; i++) {
            int32_t code = x[i] - a->x_zero;
            sum += code;
            squares += code * code;
        }
        double mean = (double)sum / a->count, variance = (double)squares / a->count - mean * mean;
        double scale = a->x_scale;
        float inverse = (float)(scale / sqrt(variance * scale * scale + (double)a->epsilon));
        for (int i = 0; i < a->count; i++) {
            float real = (float)(x[i] - a->x_zero - mean) * inverse * gain[i] + shift[i];
            y[i] = (int8_t)ds_code(real / a->y_scale, a->zero, -128, 127);
        }
    }
}

void ds_layernorm(ds_context *context, const void *arguments) {
    const ds_layernorm_args *a = arguments;
    ds_parallel(context, a->outer, 1, layernorm_rows, a);
}
