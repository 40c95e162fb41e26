/* Depthwise convolution: what its kernels share. */
#ifndef DS_DEPTHWISE_H
#define DS_DEPTHWISE_H

#include "args.h"
#include "internal.h"

typedef struct {
    const ds_depthwise_args *a;
    const int8_t *weights; /* [kernel element][channel] */
    const int32_t *bias;
    const float *scale;
    const int8_t *x;
    int8_t *y;
} ds_depthwise_layer;

/* Rows of the output from `begin` up to `end`, with sdot; `scratch` has room as `lowering/sums.py` reckons it. */
void ds_depthwise_dotprod(const ds_depthwise_layer *l, uint8_t *scratch, int begin, int end);

/* Whether it suits: whole vectors of channels, and more than 3 x 3, for which making quads costs more than it saves. */
DS_INLINE bool ds_depthwise_has_quads(const ds_depthwise_args *a) {
    return a->kh >= 3 && a->kh * a->kw > 9 && a->c >= 16 && a->left >= 0;
}

#endif
