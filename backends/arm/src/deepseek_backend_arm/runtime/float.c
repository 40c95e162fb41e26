/* Float32 units, as plain loops that the compiler vectorizes. */
#include "args.h"
#include "internal.h"

enum { ABS, CEIL, CLIP, COS, ELU, ERF, EXP, FLOOR, GELU, HARD_SIGMOID, HARD_SWISH, LEAKY_RELU, LOG, NEG, RECIPROCAL, RELU,
       ROUND, SIGMOID, SIGN, SIN, SOFTPLUS, SQRT, TANH };

static float unary(int op, float x, float alpha, float beta) {
    switch (op) {
        case ABS: return fabsf(x);
        case CEIL: return ceilf(x);
        case CLIP: return x < alpha ? alpha : x > beta ? beta : x;
        case COS: return cosf(x);
        case ELU: return x < 0 ? alpha * expm1f(x) : x;
        case ERF: return erff(x);
        case EXP: return expf(x);
        case FLOOR: return floorf(x);
        case GELU: return 0.5f * x * (1 + erff(x * 0.70710678f));
        case HARD_SIGMOID: x = alpha * x + beta; return x < 0 ? 0 : x > 1 ? 1 : x;
        case HARD_SWISH: { float h = x / 6 + 0.5f; return x * (h < 0 ? 0 : h > 1 ? 1 : h); }
        case LEAKY_RELU: return x < 0 ? alpha * x : x;
        case LOG: return logf(x);
        case NEG: return -x;
        case RECIPROCAL: return 1 / x;
        case RELU: return x < 0 ? 0 : x;
        case ROUND: return rintf(x);
        case SIGMOID: return 1 / (1 + expf(-x));
        case SIGN: return (float)((x > 0) - (x < 0));
        case SIN: return sinf(x);
        case SOFTPLUS: return (x > 0 ? x : 0) + log1pf(expf(-fabsf(x)));
        case SQRT: return sqrtf(x);
        default: return tanhf(x);
    }
}

static void unary_part(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_unary_f32_args *a = arguments;
    const float *x = (const float *)(const void *)ds_at(context, a->x);
    float *y = (float *)(void *)ds_at(context, a->y);
    for (int i = begin; i < end; i++) y[i] = unary(a->op, x[i], a->alpha, a->beta);
}

void ds_unary_f32(ds_context *context, const void *arguments) {
    const ds_unary_f32_args *a = arguments;
    ds_parallel(context, a->count, 1024, unary_part, a);
}

enum { ADD, SUB, MUL, DIV, MIN, MAX, POW };

#define EACH(expression)                                          \
    for (int i = 0; i < count; i++) {                             \
        float p = a[(ptrdiff_t)i * da], q = b[(ptrdiff_t)i * db]; \
        y[i] = expression;                                        \
    }                                                             \
    break

static void binary_row(int op, const float *a, int da, const float *b, int db, int count, float *y) {
    switch (op) {
        case ADD: EACH(p + q);
        case SUB: EACH(p - q);
        case MUL: EACH(p * q);
        case DIV: EACH(p / q);
        case MIN: EACH(p < q ? p : q);
        case MAX: EACH(p > q ? p : q);
        default: EACH(powf(p, q));
    }
}

static void binary_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_binary_f32_args *q = arguments;
    int last = q->rank - 1;
    for (int row = begin; row < end; row++) {
        const float *a = (const float *)(const void *)ds_at(context, q->a), *b = (const float *)(const void *)ds_at(context, q->b);
        for (int axis = last - 1, rest = row; axis >= 0; rest /= q->dims[axis--]) {
            a += (ptrdiff_t)(rest % q->dims[axis]) * q->a_strides[axis];
            b += (ptrdiff_t)(rest % q->dims[axis]) * q->b_strides[axis];
        }
        float *y = (float *)(void *)ds_at(context, q->y) + (size_t)row * (size_t)q->dims[last];
        binary_row(q->op, a, q->a_strides[last], b, q->b_strides[last], q->dims[last], y);
    }
}

void ds_binary_f32(ds_context *context, const void *arguments) {
    const ds_binary_f32_args *q = arguments;
    int rows = 1;
    for (int axis = 0; axis + 1 < q->rank; axis++) rows *= q->dims[axis];
    if (q->dims[q->rank - 1] > 0) ds_parallel(context, rows, 4, binary_rows, q);
}

static void softmax_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_softmax_f32_args *a = arguments;
    for (int row = begin; row < end; row++) {
        const float *x = (const float *)(const void *)ds_at(context, a->x) + (size_t)row * (size_t)a->count;
        float *y = (float *)(void *)ds_at(context, a->y) + (size_t)row * (size_t)a->count;
        float largest = x[0], sum = 0;
        for (int i = 1; i < a->count; i++) largest = x[i] > largest ? x[i] : largest;
        for (int i = 0; i < a->count; i++) sum += y[i] = expf(x[i] - largest);
        for (int i = 0; i < a->count; i++) y[i] /= sum;
    }
}

void ds_softmax_f32(ds_context *context, const void *arguments) {
    const ds_softmax_f32_args *a = arguments;
    ds_parallel(context, a->outer, 1, softmax_rows, a);
}

static void layernorm_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_layernorm_f32_args *a = arguments;
    const float *gain = (const float *)(const void *)ds_at(context, a->gain);
    const float *shift = (const float *)(const void *)ds_at(context, a->shift);
    for (int row = begin; row < end; row++) {
        const float *x = (const float *)(const void *)ds_at(context, a->x) + (size_t)row * (size_t)a->count;
        float *y = (float *)(void *)ds_at(context, a->y) + (size_t)row * (size_t)a->count;
        double sum = 0, squares = 0;
        for (int i = 0; i < a->count; i++) sum += x[i];
        float mean = (float)(sum / a->count);
        for (int i = 0; i < a->count; i++) squares += (double)(x[i] - mean) * (x[i] - mean);
        float inverse = (float)(1 / sqrt(squares / a->count + (double)a->epsilon));
        for (int i = 0; i < a->count; i++) y[i] = (x[i] - mean) * inverse * gain[i] + shift[i];
    }
}

void ds_layernorm_f32(ds_context *context, const void *arguments) {
    const ds_layernorm_f32_args *a = arguments;
    ds_parallel(context, a->outer, 1, layernorm_rows, a);
}

static void reduce_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_reduce_f32_args *a = arguments;
    for (int row = begin; row < end; row++) {
        const float *x = (const float *)(const void *)ds_at(context, a->x) + (size_t)row * (size_t)a->count;
        double sum = 0;
        float best = x[0];
        for (int i = 0; i < a->count; i++) {
            sum += x[i];
            if (a->op == 3 ? x[i] < best : x[i] > best) best = x[i];
        }
        float real = a->op >= 2 ? best : (float)(a->op == 0 ? sum / a->count : sum);
        ((float *)(void *)ds_at(context, a->y))[row] = real;
    }
}

void ds_reduce_f32(ds_context *context, const void *arguments) {
    const ds_reduce_f32_args *a = arguments;
    ds_parallel(context, a->outer, 1, reduce_rows, a);
}

/* Weights [depth, n]: rows of the result grow by whole rows of the weights. */
static void product_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_matmul_f32_args *a = arguments;
    for (int row = begin; row < end; row++) {
        int batch = row / a->m;
        const float *x = (const float *)(const void *)ds_at(context, a->a) + (size_t)row * (size_t)a->k;
        const float *b = (const float *)(const void *)ds_at(context, a->b) + (size_t)batch * (size_t)a->b_batch;
        const float *bias = a->bias == DS_NOWHERE ? NULL : (const float *)(const void *)ds_at(context, a->bias);
        float *y = (float *)(void *)ds_at(context, a->y) + (size_t)row * (size_t)a->n;
        for (int j = 0; j < a->n; j++) y[j] = bias ? bias[j] : 0;
        for (int k = 0; k < a->k; k++)
            for (int j = 0; j < a->n; j++) y[j] += x[k] * b[(size_t)k * (size_t)a->n + (size_t)j];
        for (int j = 0; j < a->n; j++) y[j] = y[j] < a->low ? a->low : y[j] > a->high ? a->high : y[j];
    }
}

void ds_matmul_f32(ds_context *context, const void *arguments) {
    const ds_matmul_f32_args *a = arguments;
    ds_parallel(context, a->batch * a->m, 1, product_rows, a);
}

/* NHWC; weights [kernel row, kernel column, channel of a group, output channel]. */
static void conv_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_conv_f32_args *a = arguments;
    const float *weights = (const float *)(const void *)ds_at(context, a->weights);
    const float *bias = (const float *)(const void *)ds_at(context, a->bias);
    int cg = a->c / a->groups, og = a->oc / a->groups;
    for (int row = begin; row < end; row++) {
        const float *image = (const float *)(const void *)ds_at(context, a->x) + (size_t)(row / a->oh) * (size_t)a->h * (size_t)a->w * (size_t)a->c;
        for (int ox = 0; ox < a->ow; ox++) {
            float *y = (float *)(void *)ds_at(context, a->y) + ((size_t)row * (size_t)a->ow + (size_t)ox) * (size_t)a->oc;
            for (int o = 0; o < a->oc; o++) y[o] = bias[o];
            for (int ky = 0; ky < a->kh; ky++) {
                int iy = row % a->oh * a->sh - a->top + ky * a->dh;
                for (int kx = 0; kx < a->kw && iy >= 0 && iy < a->h; kx++) {
                    int ix = ox * a->sw - a->left + kx * a->dw;
                    if (ix < 0 || ix >= a->w) continue;
                    const float *x = image + ((size_t)iy * (size_t)a->w + (size_t)ix) * (size_t)a->c;
                    const float *w = weights + (size_t)(ky * a->kw + kx) * (size_t)cg * (size_t)a->oc;
                    for (int c = 0; c < cg; c++)
                        for (int g = 0; g < a->groups; g++)
                            for (int o = 0; o < og; o++)
                                y[g * og + o] += x[g * cg + c] * w[(size_t)c * (size_t)a->oc + (size_t)(g * og + o)];
                }
            }
            for (int o = 0; o < a->oc; o++) y[o] = y[o] < a->low ? a->low : y[o] > a->high ? a->high : y[o];
        }
    }
}

void ds_conv_f32(ds_context *context, const void *arguments) {
    const ds_conv_f32_args *a = arguments;
    ds_parallel(context, a->n * a->oh, 1, conv_rows, a);
}
