/* Functions of single codes and of pairs of codes, and conversions between codes and real numbers. */
#include "args.h"
#include "internal.h"

enum { ADD, SUB, MUL, DIV, MIN, MAX };

enum { GRAIN = 1024 };

DS_INLINE float apply(int op, float a, float b) {
    switch (op) {
        case ADD: return a + b;
        case SUB: return a - b;
        case MUL: return a * b;
        case DIV: return a / b;
        case MIN: return a < b ? a : b;
        default: return a > b ? a : b;
    }
}

DS_INLINE int8_t binary_one(const ds_binary_args *q, int op, int8_t a, int8_t b) {
    float x = (float)(a - q->a_zero) * q->a_scale, y = (float)(b - q->b_zero) * q->b_scale;
    return (int8_t)ds_code(apply(op, x, y) / q->y_scale, q->zero, q->low, q->high);
}

#if DS_HAS_NEON
DS_INLINE float32x4_t apply4(int op, float32x4_t a, float32x4_t b) {
    switch (op) {
        case ADD: return vaddq_f32(a, b);
        case SUB: return vsubq_f32(a, b);
        case MUL: return vmulq_f32(a, b);
        case DIV: return vdivq_f32(a, b);
        case MIN: return vminq_f32(a, b);
        default: return vmaxq_f32(a, b);
    }
}

DS_INLINE float32x4_t real4(int16x4_t code, float scale) { return vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(code)), scale); }

/* fcvtns takes NaN to 0 and saturates, as the definition has it. */
DS_INLINE int16x4_t narrow4(float32x4_t real, float scale) {
    return vqmovn_s32(vcvtnq_s32_f32(vdivq_f32(real, vdupq_n_f32(scale))));
}

typedef struct {
    float32x4_t low, high;
} reals8;

DS_INLINE reals8 real8(int8x8_t codes, int zero, float scale) {
    int16x8_t wide = vsubq_s16(vmovl_s8(codes), vdupq_n_s16((int16_t)zero));
    return (reals8){real4(vget_low_s16(wide), scale), real4(vget_high_s16(wide), scale)};
}

DS_INLINE int8x8_t binary8(const ds_binary_args *q, int op, reals8 a, reals8 b) {
    int16x4_t low = narrow4(apply4(op, a.low, b.low), q->y_scale), high = narrow4(apply4(op, a.high, b.high), q->y_scale);
    int8x8_t codes = vqmovn_s16(vqaddq_s16(vcombine_s16(low, high), vdupq_n_s16((int16_t)q->zero)));
    return vmin_s8(vmax_s8(codes, vdup_n_s8((int8_t)q->low)), vdup_n_s8((int8_t)q->high));
}
#endif

/* A row of the result; each side advances by 0 or 1. */
DS_INLINE void binary_row(const ds_binary_args *q, int op, const int8_t *a, const int8_t *b, int8_t *y) {
    int count = q->dims[q->rank - 1], i = 0;
    int da = q->a_strides[q->rank - 1], db = q->b_strides[q->rank - 1];
#if DS_HAS_NEON
    for (; i + 8 <= count; i += 8) {
        int8x8_t left = da ? vld1_s8(a + i) : vdup_n_s8(*a), right = db ? vld1_s8(b + i) : vdup_n_s8(*b);
        vst1_s8(y + i, binary8(q, op, real8(left, q->a_zero, q->a_scale), real8(right, q->b_zero, q->b_scale)));
    }
#endif
    for (; i < count; i++) y[i] = binary_one(q, op, a[i * da], b[i * db]);
}

/* Whether b is one row that is met by every row of a, as a number for each channel is: its real numbers are made once then. */
DS_INLINE bool repeats(const ds_binary_args *q) {
    return q->rank == 2 && q->b_strides[0] == 0 && q->b_strides[1] == 1 && q->a_strides[1] == 1;
}

DS_INLINE void binary_repeated(const ds_binary_args *q, int op, const int8_t *a, const int8_t *b, int8_t *y, int rows) {
    int count = q->dims[1], i = 0;
    long pitch = q->a_strides[0];
#if DS_HAS_NEON
    for (; i + 8 <= count; i += 8) {
        reals8 right = real8(vld1_s8(b + i), q->b_zero, q->b_scale);
        const int8_t *x = a + i;
        int8_t *out = y + i;
        for (int row = 0; row < rows; row++, x += pitch, out += count)
            vst1_s8(out, binary8(q, op, real8(vld1_s8(x), q->a_zero, q->a_scale), right));
    }
#endif
    for (; i < count; i++)
        for (int row = 0; row < rows; row++) y[(long)row * count + i] = binary_one(q, op, a[row * pitch + i], b[i]);
}

DS_INLINE void binary_part(const ds_binary_args *q, int op, const int8_t *a, const int8_t *b, int8_t *y, int begin, int end) {
    if (repeats(q)) {
        binary_repeated(q, op, a + (ptrdiff_t)begin * q->a_strides[0], b, y + (ptrdiff_t)begin * q->dims[1], end - begin);
        return;
    }
    for (int row = begin; row < end; row++) {
        ptrdiff_t at_a = 0, at_b = 0;
        for (int axis = q->rank - 2, rest = row; axis >= 0; rest /= q->dims[axis--]) {
            at_a += (ptrdiff_t)(rest % q->dims[axis]) * q->a_strides[axis];
            at_b += (ptrdiff_t)(rest % q->dims[axis]) * q->b_strides[axis];
        }
        binary_row(q, op, a + at_a, b + at_b, y + (size_t)row * (size_t)q->dims[q->rank - 1]);
    }
}

static void binary_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_binary_args own = *(const ds_binary_args *)arguments, *q = &own; /* stores of codes might change the others */
    const int8_t *a = (const int8_t *)ds_at(context, q->a), *b = (const int8_t *)ds_at(context, q->b);
    int8_t *y = (int8_t *)ds_at(context, q->y);
    switch (q->op) {
        case ADD: binary_part(q, ADD, a, b, y, begin, end); break;
        case SUB: binary_part(q, SUB, a, b, y, begin, end); break;
        case MUL: binary_part(q, MUL, a, b, y, begin, end); break;
        case DIV: binary_part(q, DIV, a, b, y, begin, end); break;
        case MIN: binary_part(q, MIN, a, b, y, begin, end); break;
        default: binary_part(q, MAX, a, b, y, begin, end);
    }
}

void ds_binary(ds_context *context, const void *arguments) {
    const ds_binary_args *q = arguments;
    int rows = 1;
    for (int axis = 0; axis + 1 < q->rank; axis++) rows *= q->dims[axis];
    if (q->dims[q->rank - 1] == 0) return;
    ds_parallel(context, rows, 1 + GRAIN / q->dims[q->rank - 1], binary_rows, q);
}

#if DS_HAS_NEON
/* An index out of range gives 0 in the first quarter, and leaves what was found in the others. */
DS_INLINE uint8x16_t looked_up(const uint8x16x4_t *quarter, uint8x16_t at) {
    uint8x16_t found = vqtbl4q_u8(quarter[0], at);
    found = vqtbx4q_u8(found, quarter[1], vsubq_u8(at, vdupq_n_u8(64)));
    found = vqtbx4q_u8(found, quarter[2], vsubq_u8(at, vdupq_n_u8(128)));
    return vqtbx4q_u8(found, quarter[3], vsubq_u8(at, vdupq_n_u8(192)));
}
#endif

static void table_part(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_table_args *t = arguments;
    const uint8_t *x = ds_at(context, t->x), *table = ds_at(context, t->table);
    uint8_t *y = ds_at(context, t->y);
    int i = begin;
#if DS_HAS_NEON
    uint8x16x4_t quarter[4];
    for (int k = 0; k < 4; k++) quarter[k] = vld1q_u8_x4(table + 64 * k);
    for (; i + 64 <= end; i += 64) {
        uint8x16x4_t at = vld1q_u8_x4(x + i);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) at.val[k] = looked_up(quarter, at.val[k]);
        vst1q_u8_x4(y + i, at);
    }
    for (; i + 16 <= end; i += 16) vst1q_u8(y + i, looked_up(quarter, vld1q_u8(x + i)));
#endif
    for (; i < end; i++) y[i] = table[x[i]];
}

/* The table is in the order of the codes' bytes: first that of 0, that of -1 last. */
void ds_table(ds_context *context, const void *arguments) {
    const ds_table_args *t = arguments;
    ds_parallel(context, t->count, GRAIN, table_part, t);
}

static void quantize_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_quantize_args *q = arguments;
    const float *scales = (const float *)(const void *)ds_at(context, q->scale);
    const int32_t *zeros = (const int32_t *)(const void *)ds_at(context, q->zero);
    for (int row = begin; row < end; row++) {
        const float *x = (const float *)(const void *)ds_at(context, q->x) + (size_t)row * (size_t)q->inner;
        int8_t *y = (int8_t *)ds_at(context, q->y) + (size_t)row * (size_t)q->inner;
        float scale = scales[row % q->channels];
        int32_t zero = zeros[row % q->channels];
        int i = 0;
#if DS_HAS_NEON
        for (; i + 8 <= q->inner; i += 8) {
            int16x8_t wide = vcombine_s16(narrow4(vld1q_f32(x + i), scale), narrow4(vld1q_f32(x + i + 4), scale));
            vst1_s8(y + i, vqmovn_s16(vqaddq_s16(wide, vdupq_n_s16((int16_t)zero))));
        }
#endif
        for (; i < q->inner; i++) y[i] = (int8_t)ds_code(x[i] / scale, zero, -128, 127);
    }
}

/* [outer, channels, inner], with a scale for each channel. */
void ds_quantize(ds_context *context, const void *arguments) {
    const ds_quantize_args *q = arguments;
    ds_parallel(context, q->outer * q->channels, 1, quantize_rows, q);
}

static void dequantize_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_dequantize_args *q = arguments;
    const float *scales = (const float *)(const void *)ds_at(context, q->scale);
    const int32_t *zeros = (const int32_t *)(const void *)ds_at(context, q->zero);
    for (int row = begin; row < end; row++) {
        size_t place = (size_t)row * (size_t)q->inner;
        float *y = (float *)(void *)ds_at(context, q->y) + place, scale = scales[row % q->channels];
        int32_t zero = zeros[row % q->channels];
        if (q->type == DS_INT8) {
            const int8_t *x = (const int8_t *)ds_at(context, q->x) + place;
            for (int i = 0; i < q->inner; i++) y[i] = (float)(x[i] - zero) * scale;
        } else {
            const int32_t *x = (const int32_t *)(const void *)ds_at(context, q->x) + place;
            for (int i = 0; i < q->inner; i++) y[i] = (float)((int64_t)x[i] - zero) * scale;
        }
    }
}

void ds_dequantize(ds_context *context, const void *arguments) {
    const ds_dequantize_args *q = arguments;
    ds_parallel(context, q->outer * q->channels, 1, dequantize_rows, q);
}
