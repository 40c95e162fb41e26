/* Products of matrices of real numbers: eight rows by eight columns in registers, rows read by lane. */
#include "real_gemm.h"

enum { MR = 8 };

/* s + a[lane] b, the lane a constant. */
#if DS_HAS_NEON
#define LANE(s, b, a, lane) vfmaq_laneq_f32(s, b, a, lane)
#else
#define LANE(s, b, a, lane) ((s) + (b) * ds_all((a)[lane]))
#endif

#define STEP(lane)                                                                          \
    do {                                                                                    \
        ds_v4 left = ds_load(b), right = vectors > 1 ? ds_load(b + 4) : left;               \
        b += b_row;                                                                         \
        _Pragma("GCC unroll 8") for (int i = 0; i < mr; i++) {                              \
            s[i][0] = LANE(s[i][0], left, a[i], lane);                                      \
            if (vectors > 1) s[i][1] = LANE(s[i][1], right, a[i], lane);                    \
        }                                                                                   \
    } while (0)

DS_INLINE ds_v4 bounded(const ds_rgemm *g, ds_v4 x) { return ds_min(ds_max(x, ds_all(g->low)), ds_all(g->high)); }

DS_INLINE void put(const ds_rgemm *g, ds_v4 v, float *y, int left) {
    if (left >= 4) ds_store(y, bounded(g, v));
    else ds_store_few(y, bounded(g, v), left);
}

/* `mr` rows, of which those up to `last` exist, by one panel. */
DS_INLINE void tile(const ds_rgemm *g, const float *b, long b_row, const float *const *rows, int column, int mr, int vectors,
                    int last, float *y) {
    ds_v4 s[MR][2], a[MR];
    const float *x[MR];
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        x[i] = rows[i < last ? i : last];
        s[i][0] = s[i][1] = ds_all(0.0f);
    }
    int k = 0;
    for (; k + 4 <= g->depth; k += 4) {
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) a[i] = ds_load(x[i] + k);
        STEP(0);
        STEP(1);
        STEP(2);
        STEP(3);
    }
    for (; k < g->depth; k++) {
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) a[i] = ds_all(x[i][k]);
        STEP(0);
    }
    int left = g->columns - column;
    ds_v4 bias[2] = {ds_all(0.0f), ds_all(0.0f)};
    if (g->bias) {
        bias[0] = ds_load_few(g->bias + column, left < 4 ? left : 4);
        if (left > 4) bias[1] = ds_load_few(g->bias + column + 4, left < 8 ? left - 4 : 4);
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        if (i > last) break;
        float *out = y + (long)i * g->pitch + column;
        put(g, g->bias ? s[i][0] + bias[0] : s[i][0], out, left);
        if (vectors > 1) put(g, g->bias ? s[i][1] + bias[1] : s[i][1], out + 4, left - 4);
    }
}

DS_INLINE void panel(const ds_rgemm *g, const float *b, long b_row, const float *const *rows, int count, int column,
                     int vectors, float *y) {
    int first = 0;
    for (; first + MR <= count; first += MR) tile(g, b, b_row, rows + first, column, MR, vectors, MR - 1, y + first * g->pitch);
    int left = count - first;
    y += first * g->pitch;
    if (left == 1) tile(g, b, b_row, rows + first, column, 1, vectors, 0, y);
    else if (left > 4) tile(g, b, b_row, rows + first, column, MR, vectors, left - 1, y);
    else if (left) tile(g, b, b_row, rows + first, column, 4, vectors, left - 1, y);
}

DS_INLINE ds_v4 halves(const uint16_t *x) {
#if DS_HAS_NEON
    return vcvt_f32_f16(vld1_f16((const float16_t *)(const void *)x));
#else
    float v[4];
    for (int i = 0; i < 4; i++) {
        uint32_t exponent = x[i] >> 10 & 31, bits = (exponent == 31 ? 255 : exponent + 112) << 23 | (uint32_t)(x[i] & 1023) << 13;
        memcpy(&v[i], &bits, 4);
        if (exponent == 0) v[i] = (float)(x[i] & 1023) * 5.9604644775390625e-8f;
        if (x[i] >> 15) v[i] = -v[i];
    }
    return ds_load(v);
#endif
}

/* Four codes as real numbers: bytes, or the low and high nibbles of two bytes, in two's complement. */
DS_INLINE ds_v4 codes(const ds_rgemm *g, const int8_t *row, int half) {
    float v[4];
    if (g->kept == DS_B_BYTES) {
        for (int i = 0; i < 4; i++) v[i] = row[4 * half + i];
    } else {
        for (int i = 0; i < 2; i++) {
            uint8_t pair = (uint8_t)row[2 * half + i];
            v[2 * i] = (float)((int8_t)(uint8_t)(pair << 4) >> 4);
            v[2 * i + 1] = (float)((int8_t)pair >> 4);
        }
    }
    return ds_load(v);
}

#if DS_HAS_NEON
DS_INLINE void eight(const ds_rgemm *g, const int8_t *row, ds_v4 *low, ds_v4 *high) {
    int8x8_t bytes;
    if (g->kept == DS_B_BYTES) {
        bytes = vld1_s8(row);
    } else {
        int8x8_t pairs = vreinterpret_s8_s32(vld1_dup_s32((const int32_t *)(const void *)row));
        bytes = vzip1_s8(vshr_n_s8(vshl_n_s8(pairs, 4), 4), vshr_n_s8(pairs, 4));
    }
    int16x8_t wide = vmovl_s8(bytes);
    *low = vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
    *high = vcvtq_f32_s32(vmovl_high_s16(wide));
}
#endif

/* A panel as real numbers: (code - zero) * scale. */
static void unpack(const ds_rgemm *g, int column) {
    int padded = (g->columns + DS_COLUMNS - 1) / DS_COLUMNS * DS_COLUMNS;
    if (g->kept == DS_B_HALF) {
        const uint16_t *b = (const uint16_t *)g->b + (long)(column / DS_COLUMNS) * g->b_panel;
        for (long i = 0; i < (long)g->depth * DS_COLUMNS; i += 4) ds_store(g->space + i, halves(b + i));
        return;
    }
    long bytes = g->kept == DS_B_BYTES ? 8 : 4;
    const int8_t *b = (const int8_t *)g->b + (long)(column / DS_COLUMNS) * g->depth * bytes;
    for (int k = 0; k < g->depth; k++, b += bytes) {
        long place = (long)(k / g->block) * padded + column;
        ds_v4 low, high;
#if DS_HAS_NEON
        eight(g, b, &low, &high);
#else
        low = codes(g, b, 0);
        high = codes(g, b, 1);
#endif
        if (g->zero) {
            low -= ds_load(g->zero + place);
            high -= ds_load(g->zero + place + 4);
        }
        ds_store(g->space + 8L * k, low * ds_load(g->scale + place));
        ds_store(g->space + 8L * k + 4, high * ds_load(g->scale + place + 4));
    }
}

void ds_rgemm_run(const ds_rgemm *g, const float *const *rows, int count, float *y) {
#if DS_HAS_NEON
    if (g->kept == DS_B_HALF_SUMS) {
        ds_rgemm_half(g, rows, count, y);
        return;
    }
#endif
    for (int column = 0; column < g->columns; column += DS_COLUMNS) {
        const float *b = g->space;
        long b_row = DS_COLUMNS;
        if (g->kept == DS_B_REAL) {
            b = (const float *)g->b + (long)(column / DS_COLUMNS) * g->b_panel;
            b_row = g->b_row;
        } else {
            unpack(g, column);
        }
        if (g->columns - column > 4) panel(g, b, b_row, rows, count, column, 2, y);
        else panel(g, b, b_row, rows, count, column, 1, y);
    }
}
