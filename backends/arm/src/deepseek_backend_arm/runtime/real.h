/* Functions of four real numbers at once, in the vector extensions of GCC and Clang: the same text on every machine, so
   that sanitizers see what ARM runs. NEON's own instructions where they are fewer. */
#ifndef DS_REAL_H
#define DS_REAL_H

#include "internal.h"

#if DS_HAS_NEON
typedef float32x4_t ds_v4;
typedef int32x4_t ds_i4;
#else
typedef float ds_v4 __attribute__((vector_size(16)));
typedef int32_t ds_i4 __attribute__((vector_size(16)));
#endif

DS_INLINE ds_v4 ds_load(const float *x) {
    ds_v4 v;
    memcpy(&v, x, sizeof v);
    return v;
}

DS_INLINE void ds_store(float *y, ds_v4 v) { memcpy(y, &v, sizeof v); }

/* Fewer than four, of which none behind is touched. */
DS_INLINE ds_v4 ds_load_few(const float *x, int count) {
    float few[4] = {0};
    memcpy(few, x, (size_t)count * sizeof(float));
    return ds_load(few);
}

DS_INLINE void ds_store_few(float *y, ds_v4 v, int count) {
    float few[4];
    ds_store(few, v);
    memcpy(y, few, (size_t)count * sizeof(float));
}

DS_INLINE ds_v4 ds_all(float x) { return (ds_v4){x, x, x, x}; }
DS_INLINE ds_i4 ds_bits(ds_v4 x) { return (ds_i4)x; }
DS_INLINE ds_v4 ds_from_bits(ds_i4 x) { return (ds_v4)x; }

/* a where a lane of the mask is -1, b where it is 0. */
DS_INLINE ds_v4 ds_select(ds_i4 mask, ds_v4 a, ds_v4 b) {
#if DS_HAS_NEON
    return vbslq_f32(vreinterpretq_u32_s32(mask), a, b);
#else
    return (ds_v4)((mask & (ds_i4)a) | (~mask & (ds_i4)b));
#endif
}

/* a b + c, rounded once where the CPU can. */
DS_INLINE ds_v4 ds_fma(ds_v4 a, ds_v4 b, ds_v4 c) {
#if DS_HAS_NEON
    return vfmaq_f32(c, a, b);
#else
    return a * b + c;
#endif
}

/* NaN of either side stays. */
DS_INLINE ds_v4 ds_min(ds_v4 a, ds_v4 b) {
#if DS_HAS_NEON
    return vminq_f32(a, b);
#else
    return ds_select((ds_i4)(a < b) | (ds_i4)(a != a), a, b);
#endif
}

DS_INLINE ds_v4 ds_max(ds_v4 a, ds_v4 b) {
#if DS_HAS_NEON
    return vmaxq_f32(a, b);
#else
    return ds_select((ds_i4)(a > b) | (ds_i4)(a != a), a, b);
#endif
}

DS_INLINE ds_v4 ds_abs(ds_v4 x) { return ds_from_bits(ds_bits(x) & 0x7fffffff); }
DS_INLINE ds_v4 ds_signed_as(ds_v4 x, ds_v4 sign) {
    return ds_from_bits((ds_bits(x) & 0x7fffffff) | (ds_bits(sign) & (int32_t)0x80000000));
}

DS_INLINE ds_v4 ds_sqrt4(ds_v4 x) {
#if DS_HAS_NEON
    return vsqrtq_f32(x);
#else
    return (ds_v4){sqrtf(x[0]), sqrtf(x[1]), sqrtf(x[2]), sqrtf(x[3])};
#endif
}

DS_INLINE ds_v4 ds_each(float (*function)(float), ds_v4 x) {
    float v[4];
    ds_store(v, x);
    for (int i = 0; i < 4; i++) v[i] = function(v[i]);
    return ds_load(v);
}

DS_INLINE float ds_sum4(ds_v4 x) {
    float v[4];
    ds_store(v, x);
    return (v[0] + v[2]) + (v[1] + v[3]);
}

/* e^x to two units in the last place: x = n ln 2 + r, and a polynomial of r (Cephes, expf). 0 below -87.3. */
DS_INLINE ds_v4 ds_exp4(ds_v4 x) {
    ds_v4 bounded = ds_min(ds_max(x, ds_all(-104.0f)), ds_all(89.0f));
    ds_v4 shifted = ds_fma(bounded, ds_all(1.44269504088896341f), ds_all(12582912.0f));
    ds_i4 n = ds_bits(shifted) - 0x4b400000;
    ds_v4 whole = shifted - ds_all(12582912.0f);
    ds_v4 r = ds_fma(whole, ds_all(-0.693359375f), bounded);
    r = ds_fma(whole, ds_all(2.12194440e-4f), r);
    ds_v4 p = ds_fma(r, ds_all(1.9875691500e-4f), ds_all(1.3981999507e-3f));
    p = ds_fma(p, r, ds_all(8.3334519073e-3f));
    p = ds_fma(p, r, ds_all(4.1665795894e-2f));
    p = ds_fma(p, r, ds_all(1.6666665459e-1f));
    p = ds_fma(p, r, ds_all(5.0000001201e-1f));
    p = ds_fma(p, r * r, r) + ds_all(1.0f);
    /* In two steps, so that neither power of two leaves the range: results below 2^-126 lose bits, and above are infinite. */
    ds_i4 half = n >> 1;
    ds_v4 first = ds_from_bits((half + 127) << 23), second = ds_from_bits((n - half + 127) << 23);
    return p * first * second;
}

/* The same below 0: one power of two is enough. */
DS_INLINE ds_v4 ds_exp4_below(ds_v4 x) {
    ds_v4 bounded = ds_max(x, ds_all(-87.0f));
    ds_v4 shifted = ds_fma(bounded, ds_all(1.44269504088896341f), ds_all(12582912.0f));
    ds_v4 whole = shifted - ds_all(12582912.0f);
    ds_v4 r = ds_fma(whole, ds_all(-0.693359375f), bounded);
    r = ds_fma(whole, ds_all(2.12194440e-4f), r);
    ds_v4 p = ds_fma(r, ds_all(1.9875691500e-4f), ds_all(1.3981999507e-3f));
    p = ds_fma(p, r, ds_all(8.3334519073e-3f));
    p = ds_fma(p, r, ds_all(4.1665795894e-2f));
    p = ds_fma(p, r, ds_all(1.6666665459e-1f));
    p = ds_fma(p, r, ds_all(5.0000001201e-1f));
    p = ds_fma(p, r * r, r) + ds_all(1.0f);
    return ds_from_bits(ds_bits(p) + (ds_bits(shifted) << 23));
}

/* tanh by e^2x, and by its series where that would cancel (Cephes, tanhf). */
DS_INLINE ds_v4 ds_tanh4(ds_v4 x) {
    ds_v4 size = ds_abs(x), z = x * x;
    ds_v4 p = ds_fma(z, ds_all(-5.70498872745e-3f), ds_all(2.06390887954e-2f));
    p = ds_fma(p, z, ds_all(-5.37397155531e-2f));
    p = ds_fma(p, z, ds_all(1.33314422036e-1f));
    p = ds_fma(p, z, ds_all(-3.33332819422e-1f));
    ds_v4 small = ds_fma(p * z, x, x);
    ds_v4 large = ds_all(1.0f) - ds_all(2.0f) / (ds_exp4(size + size) + ds_all(1.0f));
    return ds_select((ds_i4)(size < ds_all(0.625f)), small, ds_signed_as(large, x));
}

DS_INLINE ds_v4 ds_sigmoid4(ds_v4 x) { return ds_all(1.0f) / (ds_all(1.0f) + ds_exp4(-x)); }

/* 1 - erf(size) to 1.5e-7 (Abramowitz and Stegun, 7.1.26). */
DS_INLINE ds_v4 ds_erfc4(ds_v4 size) {
    ds_v4 t = ds_all(1.0f) / ds_fma(size, ds_all(0.3275911f), ds_all(1.0f));
    ds_v4 p = ds_fma(t, ds_all(1.061405429f), ds_all(-1.453152027f));
    p = ds_fma(p, t, ds_all(1.421413741f));
    p = ds_fma(p, t, ds_all(-0.284496736f));
    p = ds_fma(p, t, ds_all(0.254829592f));
    return p * t * ds_exp4_below(-size * size);
}

/* By its series below 0.5, where the difference from 1 would cancel. */
DS_INLINE ds_v4 ds_erf4(ds_v4 x) {
    ds_v4 size = ds_abs(x), z = x * x;
    ds_v4 large = ds_all(1.0f) - ds_erfc4(size);
    ds_v4 s = ds_fma(z, ds_all(-8.5483270e-4f), ds_all(5.2239776e-3f));
    s = ds_fma(s, z, ds_all(-2.6866171e-2f));
    s = ds_fma(s, z, ds_all(1.12837917e-1f));
    s = ds_fma(s, z, ds_all(-3.76126389e-1f));
    s = ds_fma(s, z, ds_all(1.12837917f));
    return ds_select((ds_i4)(size < ds_all(0.5f)), s * x, ds_signed_as(large, x));
}

#endif
