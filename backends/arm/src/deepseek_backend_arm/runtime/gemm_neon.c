/* Matrix products with smull, smlal2 and sadalp: every ARMv8-A CPU. The portable form is for other machines. */
#include "epilogue.h"

#if DS_HAS_NEON

enum { MR = 6 };

/* Two products of codes and weights within [-127, 127] fit int16: 2 * 128 * 127 < 32768. */
DS_INLINE int32x4_t step(int32x4_t sum, int8x16_t a, int8x16_t w, bool wide) {
    int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(w));
    if (wide) return vpadalq_s16(vpadalq_s16(sum, low), vmull_high_s8(a, w));
    return vpadalq_s16(sum, vmlal_high_s8(low, a, w));
}

DS_INLINE void tile(const ds_gemm *g, const int8_t *const *rows, const int8_t *w, int mr, bool wide, int32x4_t *out) {
    int32x4_t sums[MR][4];
    const int8_t *x[MR];
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        x[i] = rows[i];
        sums[i][0] = sums[i][1] = sums[i][2] = sums[i][3] = vdupq_n_s32(0);
    }
    for (long k = 0; k < g->depth; k += DS_BLOCK, w += 64) {
        int8x16_t w0 = vld1q_s8(w), w1 = vld1q_s8(w + 16), w2 = vld1q_s8(w + 32), w3 = vld1q_s8(w + 48);
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) {
            int8x16_t a = vld1q_s8(x[i] + k);
            sums[i][0] = step(sums[i][0], a, w0, wide);
            sums[i][1] = step(sums[i][1], a, w1, wide);
            sums[i][2] = step(sums[i][2], a, w2, wide);
            sums[i][3] = step(sums[i][3], a, w3, wide);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
        out[i] = vpaddq_s32(vpaddq_s32(sums[i][0], sums[i][1]), vpaddq_s32(sums[i][2], sums[i][3]));
}

/* Four channels of two rows in one vector of codes. */
DS_INLINE void put_pair(const ds_gemm *g, int32x4_t a, int32x4_t b, int row, int other, int channel, int8_t *y) {
    float32x4_t scale = vld1q_f32(g->scale + channel);
    int32x4_t bias = vld1q_s32(g->bias + channel), second = bias;
    if (g->row_bias) {
        second = vaddq_s32(bias, vdupq_n_s32(g->row_bias[other]));
        bias = vaddq_s32(bias, vdupq_n_s32(g->row_bias[row]));
    }
    a = ds_scaled(vaddq_s32(a, bias), scale);
    b = ds_scaled(vaddq_s32(b, second), scale);
    int8x8_t codes = ds_narrow8(a, b, g->zero, g->low, g->high);
    int left = g->channels - channel;
    size_t size = (size_t)(left < 4 ? left : 4);
    size_t one = (size_t)row * (size_t)g->pitch + (size_t)channel;
    size_t two = (size_t)other * (size_t)g->pitch + (size_t)channel;
    if (g->addend) {
        int8_t both[8] = {0};
        memcpy(both, g->addend + one, size);
        memcpy(both + 4, g->addend + two, size);
        codes = ds_add8(g, codes, vld1_s8(both));
    }
    if (size == 4) {
        vst1_lane_s32((int32_t *)(void *)(y + one), vreinterpret_s32_s8(codes), 0);
        vst1_lane_s32((int32_t *)(void *)(y + two), vreinterpret_s32_s8(codes), 1);
        return;
    }
    int8_t both[8];
    vst1_s8(both, codes);
    memcpy(y + one, both, size);
    memcpy(y + two, both + 4, size);
}

DS_INLINE void run(const ds_gemm *g, const int8_t *const *rows, int count, int8_t *y, int mr, bool wide) {
    for (int channel = 0; channel < g->channels; channel += DS_PANEL) {
        const int8_t *w = g->weights + (size_t)channel * (size_t)g->depth;
        for (int first = 0; first < count; first += mr) {
            int32x4_t sums[MR + 1];
            int last = count - 1 - first;
            tile(g, rows + first, w, mr, wide, sums);
            sums[mr] = sums[mr - 1];
#pragma GCC unroll 8
            for (int i = 0; i < mr; i += 2)
                put_pair(g, sums[i], sums[i + 1], first + (i < last ? i : last), first + (i + 1 < last ? i + 1 : last),
                         channel, y);
        }
    }
}

void ds_gemm_neon(const ds_gemm *g, const int8_t *const *rows, int count, int8_t *y) {
    if (count == 1) {
        if (g->wide) run(g, rows, count, y, 1, true);
        else run(g, rows, count, y, 1, false);
    } else if (count <= 4) {
        if (g->wide) run(g, rows, count, y, 4, true);
        else run(g, rows, count, y, 4, false);
    } else {
        if (g->wide) run(g, rows, count, y, MR, true);
        else run(g, rows, count, y, MR, false);
    }
}

#else

static int32_t product(const int8_t *x, const int8_t *w, int depth) {
    uint32_t sum = 0;
    for (int k = 0; k < depth; k++) sum += (uint32_t)((int32_t)x[k] * w[(k / DS_BLOCK) * 64 + k % DS_BLOCK]);
    return (int32_t)sum;
}

void ds_gemm_neon(const ds_gemm *g, const int8_t *const *rows, int count, int8_t *y) {
    for (int row = 0; row < count; row++) {
        size_t place = (size_t)row * (size_t)g->pitch;
        for (int channel = 0; channel < g->channels; channel++) {
            size_t panel = (size_t)(channel / DS_PANEL) * DS_PANEL * (size_t)g->depth;
            const int8_t *w = g->weights + panel + channel % DS_PANEL * DS_BLOCK;
            int32_t sum = product(rows[row], w, g->depth);
            y[place + (size_t)channel] = ds_finish(g, sum, channel, row, g->addend ? g->addend + place : NULL);
        }
    }
}

#endif
