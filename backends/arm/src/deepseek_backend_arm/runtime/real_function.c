/* Functions of one real number. */
#include "args.h"
#include "real.h"

enum { GRAIN = 256 };

DS_INLINE ds_v4 clipped(ds_v4 x, float low, float high) { return ds_min(ds_max(x, ds_all(low)), ds_all(high)); }

/* x times what of the normal distribution lies below it; of 1 + erf, no digit is lost that the product would keep. */
DS_INLINE ds_v4 gelu(ds_v4 x) {
    ds_v4 rest = ds_erfc4(ds_abs(x) * ds_all(0.70710678118654752f)), half = ds_all(0.5f) * x;
    return half * ds_select((ds_i4)(x < ds_all(0.0f)), rest, ds_all(2.0f) - rest);
}

DS_INLINE ds_v4 gelu_tanh(ds_v4 x) {
    ds_v4 inner = ds_all(0.79788456080286536f) * ds_fma(ds_all(0.044715f) * x * x, x, x);
    return ds_all(0.5f) * x * (ds_all(1.0f) + ds_tanh4(inner));
}

/* ln(1 + e^x) without overflow, and without cancelling for x far below 0. */
static float softplus(float x) { return (x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x))); }
static float mish(float x) { return x * tanhf(softplus(x)); }
static float sign(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }

DS_INLINE ds_v4 below(ds_v4 x, ds_v4 negative) { return ds_select((ds_i4)(x < ds_all(0.0f)), negative, x); }

DS_INLINE ds_v4 function(int op, ds_v4 x, float alpha, float beta) {
    switch (op) {
        case DS_F_ABS: return ds_abs(x);
        case DS_F_NEG: return -x;
        case DS_F_SQRT: return ds_sqrt4(x);
        case DS_F_RECIPROCAL: return ds_all(1.0f) / x;
        case DS_F_EXP: return ds_exp4(x);
        case DS_F_ERF: return ds_erf4(x);
        case DS_F_TANH: return ds_tanh4(x);
        case DS_F_SIGMOID: return ds_sigmoid4(x);
        case DS_F_HARDSIGMOID: return clipped(ds_all(alpha) * x + ds_all(beta), 0.0f, 1.0f);
        case DS_F_HARDSWISH: return x * clipped(x / ds_all(6.0f) + ds_all(0.5f), 0.0f, 1.0f);
        case DS_F_GELU: return gelu(x);
        case DS_F_GELUTANH: return gelu_tanh(x);
        case DS_F_RELU: return ds_max(x, ds_all(0.0f));
        case DS_F_CLIP: return clipped(x, alpha, beta);
        case DS_F_LEAKYRELU: return below(x, ds_all(alpha) * x);
        case DS_F_THRESHOLDEDRELU: return ds_from_bits(ds_bits(x) & (ds_i4)(x > ds_all(alpha)));
        case DS_F_SOFTSIGN: return x / (ds_all(1.0f) + ds_abs(x));
        case DS_F_SILU: return x * ds_sigmoid4(x);
        case DS_F_LOG: return ds_each(logf, x);
        case DS_F_SOFTPLUS: return ds_each(softplus, x);
        case DS_F_MISH: return ds_each(mish, x);
        case DS_F_SIGN: return ds_each(sign, x);
        case DS_F_CEIL: return ds_each(ceilf, x);
        case DS_F_FLOOR: return ds_each(floorf, x);
        case DS_F_ROUND: return ds_each(rintf, x);
        case DS_F_SIN: return ds_each(sinf, x);
        case DS_F_COS: return ds_each(cosf, x);
        case DS_F_ELU: return below(x, ds_all(alpha) * ds_each(expm1f, x));
        case DS_F_SELU: return ds_all(beta) * below(x, ds_all(alpha) * ds_each(expm1f, x));
        default: return below(x, ds_all(alpha) * ds_each(expm1f, x / ds_all(alpha))); /* CELU */
    }
}

DS_INLINE void part(const float *x, float *y, int count, int op, float alpha, float beta) {
    int i = 0;
    for (; i + 4 <= count; i += 4) ds_store(y + i, function(op, ds_load(x + i), alpha, beta));
    if (i < count) ds_store_few(y + i, function(op, ds_load_few(x + i, count - i), alpha, beta), count - i);
}

/* One loop for each function that is often met; the others share one that looks the function up for every vector. */
static void function_part(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_function_args *a = arguments;
    const float *x = (const float *)(const void *)ds_at(context, a->x) + begin;
    float *y = (float *)(void *)ds_at(context, a->y) + begin;
    int count = end - begin;
    switch (a->op) {
        case DS_F_RELU: part(x, y, count, DS_F_RELU, 0.0f, 0.0f); break;
        case DS_F_CLIP: part(x, y, count, DS_F_CLIP, a->alpha, a->beta); break;
        case DS_F_SIGMOID: part(x, y, count, DS_F_SIGMOID, 0.0f, 0.0f); break;
        case DS_F_SILU: part(x, y, count, DS_F_SILU, 0.0f, 0.0f); break;
        case DS_F_TANH: part(x, y, count, DS_F_TANH, 0.0f, 0.0f); break;
        case DS_F_GELU: part(x, y, count, DS_F_GELU, 0.0f, 0.0f); break;
        case DS_F_GELUTANH: part(x, y, count, DS_F_GELUTANH, 0.0f, 0.0f); break;
        case DS_F_HARDSWISH: part(x, y, count, DS_F_HARDSWISH, 0.0f, 0.0f); break;
        case DS_F_HARDSIGMOID: part(x, y, count, DS_F_HARDSIGMOID, a->alpha, a->beta); break;
        default: part(x, y, count, a->op, a->alpha, a->beta);
    }
}

void ds_function(ds_context *context, const void *arguments) {
    const ds_function_args *a = arguments;
    ds_parallel(context, a->count, GRAIN, function_part, a);
}
