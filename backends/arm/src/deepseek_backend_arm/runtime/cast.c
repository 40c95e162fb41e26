/* Elements of one type as another; float16 is stored only, and computed as float32. */
#include "args.h"
#include "internal.h"

enum { GRAIN = 1024 };

/* IEEE 754 half precision: round to nearest even, overflow to infinity. */
DS_INLINE uint16_t half_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (bits >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
    if (bits < 0x38800000) { /* subnormal: the sum shifts the bits into place and rounds them */
        float shifted;
        memcpy(&shifted, &bits, 4);
        shifted += 0.5f;
        memcpy(&bits, &shifted, 4);
        return (uint16_t)(sign | (bits - 0x3f000000));
    }
    return (uint16_t)(sign | ((bits + 0xfff + (bits >> 13 & 1) - 0x38000000) >> 13));
}

DS_INLINE float of_half(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023, bits;
    float value;
    if (exponent == 0) {
        value = (float)fraction * 5.9604644775390625e-8f;
        memcpy(&bits, &value, 4);
    } else {
        bits = (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13;
    }
    bits |= sign;
    memcpy(&value, &bits, 4);
    return value;
}

DS_INLINE double taken(const void *x, int type, int i) {
    switch (type) {
        case DS_FLOAT32: return (double)((const float *)x)[i];
        case DS_FLOAT16: return (double)of_half(((const uint16_t *)x)[i]);
        case DS_INT8: return ((const int8_t *)x)[i];
        case DS_INT32: return ((const int32_t *)x)[i];
        default: return ((const uint8_t *)x)[i];
    }
}

/* What does not fit wraps, as NumPy's integers do; beyond 64 bits and NaN, the least number. */
DS_INLINE int64_t whole(double value) {
    return value > -9.2233720368547758e18 && value < 9.2233720368547758e18 ? (int64_t)value : INT64_MIN;
}

DS_INLINE void put_whole(void *y, int type, int i, int64_t value) {
    switch (type) {
        case DS_INT8: ((int8_t *)y)[i] = (int8_t)value; break;
        case DS_UINT8: ((uint8_t *)y)[i] = (uint8_t)value; break;
        case DS_INT32: ((int32_t *)y)[i] = (int32_t)value; break;
        default: ((int64_t *)y)[i] = value;
    }
}

DS_INLINE void convert(const void *x, void *y, int from, int to, int i) {
    int64_t exact = from == DS_INT64 ? ((const int64_t *)x)[i] : 0;
    double value = from == DS_INT64 ? (double)exact : taken(x, from, i);
    if (to == DS_FLOAT32) ((float *)y)[i] = from == DS_INT64 ? (float)exact : (float)value;
    else if (to == DS_FLOAT16) ((uint16_t *)y)[i] = half_of(from == DS_INT64 ? (float)exact : (float)value);
    else if (to == DS_BOOL) ((uint8_t *)y)[i] = from == DS_INT64 ? exact != 0 : value != 0;
    else put_whole(y, to, i, from == DS_INT64 ? exact : whole(value));
}

static void cast_part(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_cast_args *a = arguments;
    const void *x = ds_at(context, a->x);
    void *y = ds_at(context, a->y);
    int i = begin;
#if DS_HAS_NEON
    if (a->from == DS_FLOAT16 && a->to == DS_FLOAT32)
        for (; i + 4 <= end; i += 4) vst1q_f32((float *)y + i, vcvt_f32_f16(vld1_f16((const float16_t *)x + i)));
    if (a->from == DS_FLOAT32 && a->to == DS_FLOAT16)
        for (; i + 4 <= end; i += 4) vst1_f16((float16_t *)y + i, vcvt_f16_f32(vld1q_f32((const float *)x + i)));
#endif
    for (; i < end; i++) convert(x, y, a->from, a->to, i);
}

void ds_cast(ds_context *context, const void *arguments) {
    const ds_cast_args *a = arguments;
    ds_parallel(context, a->count, GRAIN, cast_part, a);
}
