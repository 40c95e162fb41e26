/* Where a window lies on an image, and the elements under it as one row. NHWC; elements of one byte or four. */
#ifndef DS_WINDOW_H
#define DS_WINDOW_H

#include "internal.h"

/* `c` and `channels` count bytes: of a pixel, and of the group that is gathered. */
typedef struct {
    int h, w, oh, ow, kh, kw, sh, sw, dh, dw, top, left, pointwise;
    int c, channels, fill;
} ds_window;

#define DS_WINDOW_OF(a, size, groups, filled)                                                                          \
    ((ds_window){(a)->h, (a)->w, (a)->oh, (a)->ow, (a)->kh, (a)->kw, (a)->sh, (a)->sw, (a)->dh, (a)->dw, (a)->top,     \
                 (a)->left, (a)->pointwise, (a)->c * (size), (a)->c / (groups) * (size), (filled)})

/* Whole vectors or words, the last one over part of what was there before: faster than memcpy for rows of a window. */
DS_INLINE void ds_copy_bytes(uint8_t *out, const uint8_t *x, size_t count) {
    if (count >= 16) {
#if DS_HAS_NEON
        size_t i = 0;
        for (; i + 64 <= count; i += 64) vst1q_u8_x4(out + i, vld1q_u8_x4(x + i));
        for (; i + 16 <= count; i += 16) vst1q_u8(out + i, vld1q_u8(x + i));
        if (i < count) vst1q_u8(out + count - 16, vld1q_u8(x + count - 16));
#else
        memcpy(out, x, count);
#endif
        return;
    }
    if (count >= 8) {
        uint64_t first, last;
        memcpy(&first, x, 8);
        memcpy(&last, x + count - 8, 8);
        memcpy(out, &first, 8);
        memcpy(out + count - 8, &last, 8);
        return;
    }
    for (size_t i = 0; i < count; i++) out[i] = x[i];
}

/* What lies under the window at a position; where it reaches over the border, `fill`. */
DS_INLINE void ds_gather_window(const ds_window *a, const uint8_t *image, int oy, int ox, uint8_t *out) {
    int left = ox * a->sw - a->left;
    bool dense = a->channels == a->c && a->dw == 1 && left >= 0 && left + a->kw <= a->w;
    for (int ky = 0; ky < a->kh; ky++) {
        int iy = oy * a->sh - a->top + ky * a->dh;
        size_t taps = (size_t)a->kw * (size_t)a->channels;
        if (iy < 0 || iy >= a->h) {
            memset(out, a->fill, taps);
            out += taps;
            continue;
        }
        const uint8_t *row = image + (size_t)iy * (size_t)a->w * (size_t)a->c;
        if (dense) {
            ds_copy_bytes(out, row + (size_t)left * (size_t)a->c, taps);
            out += taps;
            continue;
        }
        for (int kx = 0; kx < a->kw; kx++, out += a->channels) {
            int ix = left + kx * a->dw;
            if (ix < 0 || ix >= a->w) memset(out, a->fill, (size_t)a->channels);
            else ds_copy_bytes(out, row + (size_t)ix * (size_t)a->c, (size_t)a->channels);
        }
    }
}

/* Where the window of one element lies. */
DS_INLINE const uint8_t *ds_window_place(const ds_window *a, const uint8_t *image, int oy, int ox) {
    return image + ((size_t)(oy * a->sh) * (size_t)a->w + (size_t)(ox * a->sw)) * (size_t)a->c;
}

/* The row of a position: where it lies already, or gathered to `out`. */
DS_INLINE const uint8_t *ds_window_row(const ds_window *a, const uint8_t *x, int position, uint8_t *out) {
    int per_image = a->oh * a->ow, n = position / per_image, within = position % per_image;
    const uint8_t *image = x + (size_t)n * (size_t)a->h * (size_t)a->w * (size_t)a->c;
    int oy = within / a->ow, ox = within % a->ow;
    if (a->pointwise) return ds_window_place(a, image, oy, ox);
    ds_gather_window(a, image, oy, ox, out);
    return out;
}

#endif
