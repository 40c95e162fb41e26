/* Matrix products of codes: which kernel runs, and how weights lie for it.

   Four channels are a panel, and up to four panels a slab. Along the depth of a slab lies one block of each of its panels,
   then the next of each: one pointer walks through all of them. A block has four channels by sixteen codes of depth:
       base order     [channel 4][code 16]             whole vectors along the depth, for smull and sadalp
       dotprod order  [quad 4][channel 4][code 4]      four channels by four codes in a vector, for sdot by lane
       i8mm order     [half 2][pair 2][channel 2][code 8]   two channels by eight codes in a vector, for smmla
   so that one image serves every CPU: the orders differ inside a block of 64 bytes, and ds_open changes them in place. */
#include "internal.h"

#if DS_HAS_NEON
static void order_for_dotprod(int8_t *block) {
    int32_t *words = (int32_t *)(void *)block;
    vst1q_s32_x4(words, vld4q_s32(words));
}

static void order_for_i8mm(int8_t *block) {
    int64_t *words = (int64_t *)(void *)block;
    int64x2x2_t first = vld2q_s64(words), second = vld2q_s64(words + 4);
    int64x2x4_t ordered = {{first.val[0], second.val[0], first.val[1], second.val[1]}};
    vst1q_s64_x4(words, ordered);
}
#endif

void ds_gemm_order(ds_level level, int8_t *weights, size_t bytes) {
#if DS_HAS_NEON
    for (size_t place = 0; place + 64 <= bytes && level != DS_NEON; place += 64) {
        if (level == DS_DOTPROD) order_for_dotprod(weights + place);
        else order_for_i8mm(weights + place);
    }
#else
    (void)level, (void)weights, (void)bytes;
#endif
}

void ds_gemm_run(ds_level level, const ds_gemm *g, const int8_t **rows, int count, void *y) {
    for (int i = count; i < count + 8; i++) rows[i] = rows[count - 1];
    switch (g->by_dot && level > DS_DOTPROD ? DS_DOTPROD : level) {
#if DS_HAS_NEON
        case DS_I8MM: ds_gemm_i8mm(g, rows, count, y); break;
        case DS_DOTPROD: ds_gemm_dotprod(g, rows, count, y); break;
#endif
        default: ds_gemm_neon(g, rows, count, y);
    }
}
