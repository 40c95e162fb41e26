/* From accumulators to codes: requantization, clamping, and the addition behind a convolution. */
#ifndef DS_EPILOGUE_H
#define DS_EPILOGUE_H

#include "internal.h"

/* Code of a sum a + b of codes, as the IR has Add: real numbers in float32, divided by the scale of the result. */
DS_INLINE int8_t ds_add_codes(const ds_gemm *g, int32_t own, int32_t other) {
    float real = (float)(own - g->zero) * g->own_scale + (float)(other - g->addend_zero) * g->addend_scale;
    return (int8_t)ds_code(real / g->sum_scale, g->sum_zero, g->sum_low, g->sum_high);
}

DS_INLINE int8_t ds_finish(const ds_gemm *g, int32_t sum, int channel, int row, const int8_t *addend) {
    uint32_t bias = (uint32_t)g->bias[channel] + (g->row_bias ? (uint32_t)g->row_bias[row] : 0);
    int32_t code = ds_code((float)(int32_t)((uint32_t)sum + bias) * g->scale[channel], g->zero, g->low, g->high);
    return addend ? ds_add_codes(g, code, addend[channel]) : (int8_t)code;
}

/* Real number of a sum, as the IR has it: float32(sum) times the product of the scales. */
DS_INLINE float ds_finish_real(const ds_gemm *g, int32_t sum, int channel, int row) {
    uint32_t bias = (uint32_t)g->bias[channel] + (g->row_bias ? (uint32_t)g->row_bias[row] : 0);
    float real = (float)(int32_t)((uint32_t)sum + bias) * g->scale[channel];
    if (g->shift) real += g->shift[channel];
    return real < g->real_low ? g->real_low : real > g->real_high ? g->real_high : real;
}

#if DS_HAS_NEON
/* Sums of sixteen channels. */
typedef struct {
    int32x4_t v[4];
} ds_sums16;

DS_INLINE void ds_add16(ds_sums16 *s, int16x8_t low, int16x8_t high) {
    s->v[0] = vaddw_s16(s->v[0], vget_low_s16(low));
    s->v[1] = vaddw_high_s16(s->v[1], low);
    s->v[2] = vaddw_s16(s->v[2], vget_low_s16(high));
    s->v[3] = vaddw_high_s16(s->v[3], high);
}

/* Four channels of one row as real numbers, from sums with the bias of the channels in them. */
DS_INLINE void ds_put_real(const ds_gemm *g, int32x4_t sum, int channel, int row, float *y) {
    if (g->row_bias) sum = vaddq_s32(sum, vdupq_n_s32(g->row_bias[row]));
    float32x4_t real = vmulq_f32(vcvtq_f32_s32(sum), vld1q_f32(g->scale + channel));
    if (g->shift) real = vaddq_f32(real, vld1q_f32(g->shift + channel));
    real = vminq_f32(vmaxq_f32(real, vdupq_n_f32(g->real_low)), vdupq_n_f32(g->real_high));
    float *place = y + (long)row * g->pitch + channel;
    int left = g->channels - channel;
    if (left >= 4) {
        vst1q_f32(place, real);
    } else {
        float part[4];
        vst1q_f32(part, real);
        memcpy(place, part, (size_t)left * sizeof(float));
    }
}

DS_INLINE int32x4_t ds_scaled(int32x4_t sum, float32x4_t scale) {
    return vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sum), scale));
}

DS_INLINE int8x8_t ds_narrow8(int32x4_t a, int32x4_t b, int zero, int low, int high) {
    int16x8_t wide = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), vdupq_n_s16((int16_t)zero));
    return vmin_s8(vmax_s8(vqmovn_s16(wide), vdup_n_s8((int8_t)low)), vdup_n_s8((int8_t)high));
}

DS_INLINE int8x16_t ds_narrow16(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d, int zero, int low, int high) {
    int16x8_t z = vdupq_n_s16((int16_t)zero);
    int16x8_t first = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), z);
    int16x8_t second = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(c), d), z);
    int8x16_t codes = vqmovn_high_s16(vqmovn_s16(first), second);
    return vminq_s8(vmaxq_s8(codes, vdupq_n_s8((int8_t)low)), vdupq_n_s8((int8_t)high));
}

/* Whether a tile of `size` channels is written by `ds_sixteen`: all of them exist, as codes, with nothing to add. */
DS_INLINE bool ds_is_plain(const ds_gemm *g, int channel, int size) {
    return g->channels - channel >= size && !g->real && !g->row_bias && !g->addend;
}

/* Sixteen codes from sums, four channels of one row in each vector; `scale` is that of the first two vectors' channels
   and the next two's. */
DS_INLINE int8x16_t ds_sixteen(const ds_gemm *g, const int32x4_t *v, const int32x4_t *w, const float32x4_t *scale,
                               const float32x4_t *more) {
    return ds_narrow16(ds_scaled(v[0], scale[0]), ds_scaled(v[1], scale[1]), ds_scaled(w[0], more[0]),
                       ds_scaled(w[1], more[1]), g->zero, g->low, g->high);
}

DS_INLINE int32x4_t ds_real_sum(const ds_gemm *g, int16x4_t own, int16x4_t other) {
    float32x4_t a = vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(own)), g->own_scale);
    float32x4_t b = vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(other)), g->addend_scale);
    return vcvtnq_s32_f32(vdivq_f32(vaddq_f32(a, b), vdupq_n_f32(g->sum_scale)));
}

DS_INLINE int8x8_t ds_add8(const ds_gemm *g, int8x8_t own, int8x8_t other) {
    int16x8_t a = vsubq_s16(vmovl_s8(own), vdupq_n_s16((int16_t)g->zero));
    int16x8_t b = vsubq_s16(vmovl_s8(other), vdupq_n_s16((int16_t)g->addend_zero));
    int32x4_t first = ds_real_sum(g, vget_low_s16(a), vget_low_s16(b));
    int32x4_t second = ds_real_sum(g, vget_high_s16(a), vget_high_s16(b));
    return ds_narrow8(first, second, g->sum_zero, g->sum_low, g->sum_high);
}

DS_INLINE void ds_store_part(int8_t *y, int8x8_t codes, int count) {
    int8_t part[8];
    vst1_s8(part, codes);
    memcpy(y, part, (size_t)(count < 8 ? count : 8));
}

DS_INLINE int8x8_t ds_load_part(const int8_t *x, int count) {
    int8_t part[8] = {0};
    memcpy(part, x, (size_t)(count < 8 ? count : 8));
    return vld1_s8(part);
}

/* Eight channels of one row, `left` of which exist. */
DS_INLINE void ds_put8(const ds_gemm *g, int8x8_t codes, int8_t *y, const int8_t *addend, int left) {
    if (left >= 8) {
        vst1_s8(y, addend ? ds_add8(g, codes, vld1_s8(addend)) : codes);
    } else {
        ds_store_part(y, addend ? ds_add8(g, codes, ds_load_part(addend, left)) : codes, left);
    }
}

/* `panels` times four channels of one row from its accumulators, bias included, from `channel` on. */
DS_INLINE void ds_put(const ds_gemm *g, const int32x4_t *sums, int panels, int channel, int row, void *out) {
    int32x4_t v[4];
    int left = g->channels - channel;
    int8_t *y = out;
    if (g->real) {
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            if (4 * p < left) ds_put_real(g, sums[p], channel + 4 * p, row, out);
        return;
    }
    long place = (long)row * g->pitch + channel;
    const int8_t *addend = g->addend;
#pragma GCC unroll 4
    for (int p = 0; p < panels; p++) v[p] = sums[p];
    if (g->row_bias) {
        int32x4_t extra = vdupq_n_s32(g->row_bias[row]);
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++) v[p] = vaddq_s32(v[p], extra);
    }
#pragma GCC unroll 4
    for (int p = 0; p < panels; p++) v[p] = ds_scaled(v[p], vld1q_f32(g->scale + channel + 4 * p));
    if (panels == 4 && left >= 16) {
        int8x16_t codes = ds_narrow16(v[0], v[1], v[2], v[3], g->zero, g->low, g->high);
        if (addend) {
            int8x16_t other = vld1q_s8(addend + place);
            codes = vcombine_s8(ds_add8(g, vget_low_s8(codes), vget_low_s8(other)),
                                ds_add8(g, vget_high_s8(codes), vget_high_s8(other)));
        }
        vst1q_s8(y + place, codes);
        return;
    }
#pragma GCC unroll 2
    for (int p = 0; p < panels; p += 2) {
        int here = left - 4 * p;
        if (here <= 0) return;
        int8x8_t codes = ds_narrow8(v[p], v[p + 1 < panels ? p + 1 : p], g->zero, g->low, g->high);
        const int8_t *other = addend ? addend + place + 4 * p : NULL;
        ds_put8(g, codes, y + place + 4 * p, other, panels == 1 && here > 4 ? 4 : here);
    }
}

/* Whether it is written by `ds_put_reals`: all channels exist, as real numbers. */
DS_INLINE bool ds_is_real(const ds_gemm *g, int channel, int size) { return g->channels - channel >= size && g->real; }

/* Rows of real numbers; `y` is the tile's place, and rows behind `last` repeat it. `bounded` and `shifted` are constants. */
DS_INLINE void ds_put_reals_as(const ds_gemm *g, int32x4_t (*sums)[4], int channel, int mr, int panels, int first, int last,
                               float *y, bool bounded, bool shifted) {
    float32x4_t low = vdupq_n_f32(g->real_low), high = vdupq_n_f32(g->real_high);
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        int row = i < last ? i : last;
        int32x4_t extra = vdupq_n_s32(g->row_bias ? g->row_bias[first + row] : 0);
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++) {
            int32x4_t sum = g->row_bias ? vaddq_s32(sums[i][p], extra) : sums[i][p];
            float32x4_t real = vmulq_f32(vcvtq_f32_s32(sum), vld1q_f32(g->scale + channel + 4 * p));
            if (shifted) real = vaddq_f32(real, vld1q_f32(g->shift + channel + 4 * p));
            if (bounded) real = vminq_f32(vmaxq_f32(real, low), high);
            vst1q_f32(y + (long)row * g->pitch + 4 * p, real);
        }
    }
}

DS_INLINE void ds_put_reals(const ds_gemm *g, int32x4_t (*sums)[4], int channel, int mr, int panels, int first, int last,
                            float *y) {
    bool bounded = g->real_low != -INFINITY || g->real_high != INFINITY;
    if (bounded && g->shift) ds_put_reals_as(g, sums, channel, mr, panels, first, last, y, true, true);
    else if (bounded) ds_put_reals_as(g, sums, channel, mr, panels, first, last, y, true, false);
    else if (g->shift) ds_put_reals_as(g, sums, channel, mr, panels, first, last, y, false, true);
    else ds_put_reals_as(g, sums, channel, mr, panels, first, last, y, false, false);
}

/* Whether it is written by `ds_put_sums`: all channels exist, as codes to which others are added. */
DS_INLINE bool ds_is_sum(const ds_gemm *g, int channel, int size) {
    return g->channels - channel >= size && !g->real && !g->row_bias && g->addend;
}

/* Rows of codes with those of the addend added; as `ds_put_plain`. */
DS_INLINE void ds_put_sums(const ds_gemm *g, int32x4_t (*sums)[4], int channel, int mr, int panels, int last, int8_t *y,
                           const int8_t *addend) {
    float32x4_t scale[4];
#pragma GCC unroll 4
    for (int p = 0; p < panels; p++) scale[p] = vld1q_f32(g->scale + channel + 4 * p);
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        long row = (long)(i < last ? i : last) * g->pitch;
#pragma GCC unroll 2
        for (int p = 0; p < panels; p += 2) {
            int8x8_t codes = ds_narrow8(ds_scaled(sums[i][p], scale[p]), ds_scaled(sums[i][p + 1], scale[p + 1]), g->zero,
                                        g->low, g->high);
            vst1_s8(y + row + 4 * p, ds_add8(g, codes, vld1_s8(addend + row + 4 * p)));
        }
    }
}

/* Rows of sixteen channels, or two rows of eight at once. Those behind `last` repeat it. */
DS_INLINE void ds_put_plain(const ds_gemm *g, int32x4_t (*sums)[4], int channel, int mr, int panels, int last,
                            int8_t *y) {
    float32x4_t scale[4];
#pragma GCC unroll 4
    for (int p = 0; p < panels; p++) scale[p] = vld1q_f32(g->scale + channel + 4 * p);
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        int8_t *row = y + (long)(i < last ? i : last) * g->pitch;
        if (panels == 4) {
            vst1q_s8(row, ds_sixteen(g, sums[i], sums[i] + 2, scale, scale + 2));
        } else if (i % 2 == 0) {
            int next = i + 1 < mr ? i + 1 : i;
            int8x16_t codes = ds_sixteen(g, sums[i], sums[next], scale, scale);
            vst1_s8(row, vget_low_s8(codes));
            vst1_s8(y + (long)(next < last ? next : last) * g->pitch, vget_high_s8(codes));
        }
    }
}

/* Rows of a tile that is not plain, from memory: the tile itself keeps its registers for the sums. Rows behind `last`
   repeat it. */
static __attribute__((noinline)) void ds_put_rows(const ds_gemm *g, int32x4_t (*sums)[4], int mr, int panels,
                                                  int channel, int first, int last, void *y) {
    for (int i = 0; i < mr && i <= last; i++) {
        if (panels == 4) ds_put(g, sums[i], 4, channel, first + i, y);
        else if (panels == 2) ds_put(g, sums[i], 2, channel, first + i, y);
        else ds_put(g, sums[i], 1, channel, first + i, y);
    }
}
#endif

#endif
