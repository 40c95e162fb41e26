/* Depthwise convolution with sdot: ARMv8.2-A and later. Compiled with that instruction set; see ds_cpu.

   A lane of sdot sums four products, here those of four rows under the window. For a row of the output and sixteen
   channels, the codes of each column become quads: four rows of one channel side by side. They lie as [group of four rows]
   [four channels][column][channel 4][row 4] in scratch, with the columns of the padding, so that the positions of a row are
   all alike. Then each four channels take one quad for each column of the kernel. */
#include "depthwise.h"
#include "epilogue.h"

#if DS_HAS_NEON

enum { SOME = 4, MANY = 8, CHANNELS = 16, ROWS = 4, VECTOR = 16 };

/* What stays the same for all rows. */
typedef struct {
    const ds_depthwise_layer *l;
    int8_t *quads, *weights; /* weights as quads: [four channels][group][kernel column] */
    int groups, columns, channel;
} block;

DS_INLINE int columns_of(const ds_depthwise_args *a) {
    int positions = a->ow < SOME ? SOME : a->ow;
    return (positions - 1) * a->sw + (a->kw - 1) * a->dw + 1;
}

/* Four rows of sixteen channels as quads, of which `count` rows exist; a vector for each four channels. */
DS_INLINE int8x16x4_t interleaved(const int8_t *const *rows, long place, int count) {
    int8x16_t none = vdupq_n_s8(0), first = vld1q_s8(rows[0] + place);
    int8x16_t second = count > 1 ? vld1q_s8(rows[1] + place) : none;
    int16x8_t low = vreinterpretq_s16_s8(vzip1q_s8(first, second)), high = vreinterpretq_s16_s8(vzip2q_s8(first, second));
    int16x8_t low2 = vdupq_n_s16(0), high2 = low2;
    if (count > 2) {
        int8x16_t third = vld1q_s8(rows[2] + place), fourth = count > 3 ? vld1q_s8(rows[3] + place) : none;
        low2 = vreinterpretq_s16_s8(vzip1q_s8(third, fourth));
        high2 = vreinterpretq_s16_s8(vzip2q_s8(third, fourth));
    }
    return (int8x16x4_t){{vreinterpretq_s8_s16(vzip1q_s16(low, low2)), vreinterpretq_s8_s16(vzip2q_s16(low, low2)),
                          vreinterpretq_s8_s16(vzip1q_s16(high, high2)), vreinterpretq_s8_s16(vzip2q_s16(high, high2))}};
}

/* Columns that lie `step` bytes apart, with one vector for each four channels `pitch` bytes apart. */
DS_INLINE void put_columns(const int8_t *const *rows, int count, int columns, long step, int8_t *out, long pitch) {
    for (long place = 0, end = columns * step; place < end; place += step, out += VECTOR) {
        int8x16x4_t quads = interleaved(rows, place, count);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) vst1q_s8(out + k * pitch, quads.val[k]);
    }
}

static void put_some(const int8_t *const *rows, int count, int columns, long step, int8_t *out, long pitch) {
    if (count == 1) put_columns(rows, 1, columns, step, out, pitch);
    else if (count == 2) put_columns(rows, 2, columns, step, out, pitch);
    else if (count == 3) put_columns(rows, 3, columns, step, out, pitch);
    else put_columns(rows, 4, columns, step, out, pitch);
}

DS_INLINE int rows_of(const ds_depthwise_args *a, int group) {
    return a->kh - ROWS * group < ROWS ? a->kh - ROWS * group : ROWS;
}

static void put_weights(const block *b) {
    const ds_depthwise_args *a = b->l->a;
    for (int group = 0; group < b->groups; group++) {
        const int8_t *rows[ROWS];
        for (int r = 0; r < ROWS; r++) {
            size_t tap = (size_t)((ROWS * group + r) * a->kw) * (size_t)a->c;
            rows[r] = r < rows_of(a, group) ? b->l->weights + tap + b->channel : b->l->weights;
        }
        long pitch = (long)b->groups * a->kw * VECTOR;
        put_some(rows, rows_of(a, group), a->kw, a->c, b->weights + group * a->kw * VECTOR, pitch);
    }
}

/* The quads of a row of the output; columns of padding are there already. `blank` is a row of codes of 0. */
static void put_row(const block *b, const int8_t *image, const int8_t *blank, int oy) {
    const ds_depthwise_args *a = b->l->a;
    int inside = b->columns - a->left < a->w ? b->columns - a->left : a->w;
    long pitch = (long)b->columns * VECTOR;
    for (int group = 0; group < b->groups; group++) {
        const int8_t *rows[ROWS];
        for (int r = 0; r < ROWS; r++) {
            int iy = oy * a->sh - a->top + (ROWS * group + r) * a->dh;
            rows[r] = (iy < 0 || iy >= a->h ? blank : image + (size_t)iy * (size_t)a->w * (size_t)a->c) + b->channel;
        }
        put_some(rows, rows_of(a, group), inside, a->c, b->quads + 4 * group * pitch + a->left * VECTOR, pitch);
    }
}

/* What positions of four channels need, in registers: the compiler would read the arguments again behind every store. */
typedef struct {
    int32x4_t bias;
    float32x4_t scale;
    int16x8_t zero;
    int8x16_t low, high;
    long pitch; /* from one position of the output to the next */
    long group; /* from the quads of one group to the next */
    int groups;
} layout;

static layout layout_of(const block *b, int channel) {
    const ds_depthwise_args *a = b->l->a;
    return (layout){vld1q_s32(b->l->bias + channel), vld1q_f32(b->l->scale + channel), vdupq_n_s16((int16_t)a->zero),
                    vdupq_n_s8((int8_t)a->low), vdupq_n_s8((int8_t)a->high), a->c, 4L * b->columns * VECTOR, b->groups};
}

/* Four positions, of which `count` exist. */
DS_INLINE void put_four(const layout *o, const int32x4_t *sums, int8_t *y, int count) {
    int16x4_t first = vqmovn_s32(ds_scaled(sums[0], o->scale)), second = vqmovn_s32(ds_scaled(sums[2], o->scale));
    int16x8_t low = vqaddq_s16(vqmovn_high_s32(first, ds_scaled(sums[1], o->scale)), o->zero);
    int16x8_t high = vqaddq_s16(vqmovn_high_s32(second, ds_scaled(sums[3], o->scale)), o->zero);
    int8x16_t codes = vminq_s8(vmaxq_s8(vqmovn_high_s16(vqmovn_s16(low), high), o->low), o->high);
    int32x4_t words = vreinterpretq_s32_s8(codes);
    vst1q_lane_s32((int32_t *)(void *)y, words, 0);
    y += o->pitch;
    if (count > 1) vst1q_lane_s32((int32_t *)(void *)y, words, 1);
    y += o->pitch;
    if (count > 2) vst1q_lane_s32((int32_t *)(void *)y, words, 2);
    y += o->pitch;
    if (count > 3) vst1q_lane_s32((int32_t *)(void *)y, words, 3);
}

/* `many` positions of four channels, from the quads of the first; kernel columns, strides and dilations are constants where
   they are often met. */
DS_INLINE void positions(const layout *o, const int8_t *quads, const int8_t *w, int8_t *y, int many, int kw, int sw, int dw,
                         int count) {
    int32x4_t sums[MANY];
#pragma GCC unroll 8
    for (int p = 0; p < many; p++) sums[p] = o->bias;
    for (int group = 0; group < o->groups; group++, quads += o->group) {
#pragma GCC unroll 5
        for (int k = 0; k < kw; k++, w += VECTOR) {
            int8x16_t weights = vld1q_s8(w);
#pragma GCC unroll 8
            for (int p = 0; p < many; p++)
                sums[p] = vdotq_s32(sums[p], weights, vld1q_s8(quads + (long)(p * sw + k * dw) * VECTOR));
        }
    }
    put_four(o, sums, y, count);
    if (many > SOME) put_four(o, sums + SOME, y + SOME * o->pitch, ROWS);
}

/* The positions of a row in eights and fours; the last again with those before them. */
DS_INLINE void along(const layout *of, const int8_t *quads, const int8_t *w, int8_t *y, int width, int kw, int sw, int dw) {
    const layout o = *of;
    for (int ox = 0; ox < width;) {
        int left = width - ox;
        bool many = left >= MANY || (left > SOME && width >= MANY);
        int size = many ? MANY : SOME, from = left >= size ? ox : width >= size ? width - size : 0;
        const int8_t *first = quads + (long)from * sw * VECTOR;
        int8_t *out = y + from * o.pitch;
        if (many) positions(&o, first, w, out, MANY, kw, sw, dw, SOME);
        else positions(&o, first, w, out, SOME, kw, sw, dw, width < SOME ? width : SOME);
        ox = from + size;
    }
}

static void sixteen(const block *b, int8_t *y) {
    const ds_depthwise_args *a = b->l->a;
    for (int k = 0; k < CHANNELS / 4; k++, y += 4) {
        const int8_t *quads = b->quads + (long)k * b->columns * VECTOR, *w = b->weights + (long)k * b->groups * a->kw * VECTOR;
        const layout o = layout_of(b, b->channel + 4 * k);
        if (a->dw == 1 && a->kw == 5 && a->sw == 1) along(&o, quads, w, y, a->ow, 5, 1, 1);
        else if (a->dw == 1 && a->kw == 5 && a->sw == 2) along(&o, quads, w, y, a->ow, 5, 2, 1);
        else along(&o, quads, w, y, a->ow, a->kw, a->sw, a->dw);
    }
}

void ds_depthwise_dotprod(const ds_depthwise_layer *l, uint8_t *scratch, int begin, int end) {
    const ds_depthwise_args *a = l->a;
    size_t row = (size_t)a->w * (size_t)a->c, aligned = (row + 63) / 64 * 64;
    const int8_t *blank = (const int8_t *)scratch;
    int groups = (a->kh + ROWS - 1) / ROWS, columns = columns_of(a);
    block b = {.l = l, .quads = (int8_t *)scratch + aligned, .groups = groups, .columns = columns};
    size_t quads = (size_t)groups * (size_t)columns * 4 * VECTOR;
    b.weights = b.quads + quads;
    memset(scratch, a->x_zero, aligned + quads);
    for (int channel = 0; channel < a->c; channel += CHANNELS) {
        b.channel = a->c - channel < CHANNELS ? a->c - CHANNELS : channel;
        put_weights(&b);
        for (int i = begin; i < end; i++) {
            put_row(&b, l->x + (size_t)(i / a->oh) * (size_t)a->h * row, blank, i % a->oh);
            sixteen(&b, l->y + (size_t)i * (size_t)a->ow * (size_t)a->c + b.channel);
        }
    }
}

#endif
