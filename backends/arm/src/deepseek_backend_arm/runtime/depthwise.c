/* Depthwise convolution, one output channel for each input channel. NHWC, channels in the vectors. */
#include "depthwise.h"
#include "epilogue.h"

typedef ds_depthwise_layer layer;

/* One position: `taps[t]` is where kernel element t lies on the input, or on codes of 0. */
static void position_plain(const layer *l, const int8_t *const *taps, int begin, int8_t *y) {
    const ds_depthwise_args *a = l->a;
    for (int c = begin; c < a->c; c++) {
        uint32_t sum = (uint32_t)l->bias[c];
        for (int t = 0; t < a->kh * a->kw; t++)
            sum += (uint32_t)((int32_t)taps[t][c] * l->weights[(size_t)t * (size_t)a->c + (size_t)c]);
        y[c] = (int8_t)ds_code((float)(int32_t)sum * l->scale[c], a->zero, a->low, a->high);
    }
}

#if DS_HAS_NEON
DS_INLINE ds_sums16 start(const layer *l, int c) {
    return (ds_sums16){{vld1q_s32(l->bias + c), vld1q_s32(l->bias + c + 4), vld1q_s32(l->bias + c + 8),
                     vld1q_s32(l->bias + c + 12)}};
}

/* What sixteen channels need when their sums become codes, in registers: the compiler would read the arguments again behind
   every store. */
typedef struct {
    float32x4_t scale[4];
    int16x8_t zero;
    int8x16_t low, high;
} ends16;

DS_INLINE ends16 ends_at(const layer *l, int c) {
    const float *scale = l->scale + c;
    return (ends16){{vld1q_f32(scale), vld1q_f32(scale + 4), vld1q_f32(scale + 8), vld1q_f32(scale + 12)},
                    vdupq_n_s16((int16_t)l->a->zero), vdupq_n_s8((int8_t)l->a->low), vdupq_n_s8((int8_t)l->a->high)};
}

DS_INLINE void put16(const ends16 *e, const ds_sums16 *s, int8_t *y) {
    int16x4_t first = vqmovn_s32(ds_scaled(s->v[0], e->scale[0])), third = vqmovn_s32(ds_scaled(s->v[2], e->scale[2]));
    int16x8_t low = vqaddq_s16(vqmovn_high_s32(first, ds_scaled(s->v[1], e->scale[1])), e->zero);
    int16x8_t high = vqaddq_s16(vqmovn_high_s32(third, ds_scaled(s->v[3], e->scale[3])), e->zero);
    vst1q_s8(y, vminq_s8(vmaxq_s8(vqmovn_high_s16(vqmovn_s16(low), high), e->low), e->high));
}

/* Sixteen channels; `count` kernel elements. Two products fit int16 unless weights hold -128. */
DS_INLINE void block16(const layer *l, const int8_t *const *taps, long offset, int count, int c, bool wide, int8_t *y) {
    ds_sums16 s = start(l, c);
    const int8_t *w = l->weights + c;
    size_t pitch = (size_t)l->a->c;
    int t = 0;
#pragma GCC unroll 4
    for (; t + 1 < count && !wide; t += 2) {
        int8x16_t x0 = vld1q_s8(taps[t] + offset + c), w0 = vld1q_s8(w + (size_t)t * pitch);
        int8x16_t x1 = vld1q_s8(taps[t + 1] + offset + c), w1 = vld1q_s8(w + (size_t)(t + 1) * pitch);
        int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(x0), vget_low_s8(w0)), vget_low_s8(x1), vget_low_s8(w1));
        ds_add16(&s, low, vmlal_high_s8(vmull_high_s8(x0, w0), x1, w1));
    }
    for (; t < count; t++) {
        int8x16_t x0 = vld1q_s8(taps[t] + offset + c), w0 = vld1q_s8(w + (size_t)t * pitch);
        ds_add16(&s, vmull_s8(vget_low_s8(x0), vget_low_s8(w0)), vmull_high_s8(x0, w0));
    }
    ends16 e = ends_at(l, c);
    put16(&e, &s, y + c);
}

/* Positions of a row whose windows lie inside it, for sixteen channels; 3 x 3 weights stay in registers. */
DS_INLINE void run16(const layer *l, const int8_t *const *taps, int count, int kernel, int c, int8_t *y) {
    const ds_depthwise_args *a = l->a;
    long advance = (long)a->sw * a->c;
    if (kernel != 9 || a->wide) {
        for (int i = 0; i < count; i++, y += a->c) {
            if (a->wide) block16(l, taps, i * advance, kernel, c, true, y);
            else block16(l, taps, i * advance, kernel, c, false, y);
        }
        return;
    }
    int8x16_t w[9];
    const int8_t *x[9];
#pragma GCC unroll 9
    for (int t = 0; t < 9; t++) {
        w[t] = vld1q_s8(l->weights + (size_t)t * (size_t)a->c + (size_t)c);
        x[t] = taps[t] + c;
    }
    ds_sums16 bias = start(l, c);
    ends16 e = ends_at(l, c);
    long pitch = a->c;
    y += c;
    for (int i = 0; i < count; i++, y += pitch) {
        ds_sums16 s = bias;
        long o = i * advance;
#pragma GCC unroll 4
        for (int t = 0; t < 8; t += 2) {
            int8x16_t x0 = vld1q_s8(x[t] + o), x1 = vld1q_s8(x[t + 1] + o);
            int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(x0), vget_low_s8(w[t])), vget_low_s8(x1), vget_low_s8(w[t + 1]));
            ds_add16(&s, low, vmlal_high_s8(vmull_high_s8(x0, w[t]), x1, w[t + 1]));
        }
        int8x16_t x8 = vld1q_s8(x[8] + o);
        ds_add16(&s, vmull_s8(vget_low_s8(x8), vget_low_s8(w[8])), vmull_high_s8(x8, w[8]));
        put16(&e, &s, y);
    }
}

static void inside(const layer *l, const int8_t *const *taps, int count, int8_t *y) {
    const ds_depthwise_args *a = l->a;
    int kernel = a->kh * a->kw, c = 0;
    for (; c + 16 <= a->c; c += 16) run16(l, taps, count, kernel, c, y);
    /* The last channels again with those before them, so that whole vectors do. */
    if (c < a->c && a->c >= 16) run16(l, taps, count, kernel, a->c - 16, y);
    if (a->c < 16) {
        const int8_t *moved[DS_MOST_TAPS];
        for (int i = 0; i < count; i++) {
            for (int t = 0; t < kernel; t++) moved[t] = taps[t] + (long)i * a->sw * a->c;
            position_plain(l, moved, 0, y + (size_t)i * (size_t)a->c);
        }
    }
}
#else
static void inside(const layer *l, const int8_t *const *taps, int count, int8_t *y) {
    const ds_depthwise_args *a = l->a;
    const int8_t *moved[DS_MOST_TAPS];
    for (int i = 0; i < count; i++) {
        for (int t = 0; t < a->kh * a->kw; t++) moved[t] = taps[t] + (long)i * a->sw * a->c;
        position_plain(l, moved, 0, y + (size_t)i * (size_t)a->c);
    }
}
#endif

/* Pointers of the kernel elements at a position. `blank` is a row of codes of 0: rows outside the input lie on it, and so
   do elements beside it. */
static void place(const ds_depthwise_args *a, const int8_t *image, const int8_t *blank, int oy, int ox,
                  const int8_t **taps) {
    for (int ky = 0; ky < a->kh; ky++) {
        int iy = oy * a->sh - a->top + ky * a->dh;
        const int8_t *row = iy < 0 || iy >= a->h ? blank : image + (size_t)iy * (size_t)a->w * (size_t)a->c;
        for (int kx = 0; kx < a->kw; kx++) {
            int ix = ox * a->sw - a->left + kx * a->dw;
            taps[ky * a->kw + kx] = ix < 0 || ix >= a->w ? blank : row + (size_t)ix * (size_t)a->c;
        }
    }
}

static void output_row(const layer *l, const int8_t *image, const int8_t *blank, int oy, int8_t *y) {
    const ds_depthwise_args *a = l->a;
    const int8_t *taps[DS_MOST_TAPS];
    int last = a->w - 1 - (a->kw - 1) * a->dw + a->left; /* greatest ox * sw whose window ends inside */
    int from = (a->left + a->sw - 1) / a->sw, to = last < 0 ? 0 : last / a->sw + 1;
    if (to > a->ow) to = a->ow;
    for (int ox = 0; ox < a->ow;) {
        int count = ox == from && from < to ? to - from : 1;
        place(a, image, blank, oy, ox, taps);
        inside(l, taps, count, y + (size_t)ox * (size_t)a->c);
        ox += count;
    }
}

static void rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    const ds_depthwise_args *a = arguments;
    layer l = {a, (const int8_t *)ds_at(context, a->weights), (const int32_t *)(const void *)ds_at(context, a->bias),
               (const float *)(const void *)ds_at(context, a->scale), (const int8_t *)ds_at(context, a->x),
               (int8_t *)ds_at(context, a->y)};
    uint8_t *scratch = context->scratch + (size_t)thread * context->scratch_size;
#if DS_HAS_NEON
    if (context->level >= DS_DOTPROD && ds_depthwise_has_quads(a)) {
        ds_depthwise_dotprod(&l, scratch, begin, end);
        return;
    }
#endif
    memset(scratch, a->x_zero, (size_t)a->w * (size_t)a->c);
    for (int row = begin; row < end; row++) {
        size_t n = (size_t)(row / a->oh);
        const int8_t *image = l.x + n * (size_t)a->h * (size_t)a->w * (size_t)a->c;
        output_row(&l, image, (const int8_t *)scratch, row % a->oh, l.y + (size_t)row * (size_t)a->ow * (size_t)a->c);
    }
}

void ds_depthwise(ds_context *context, const void *arguments) {
    const ds_depthwise_args *a = arguments;
    ds_parallel(context, a->n * a->oh, 1, rows, a);
}
