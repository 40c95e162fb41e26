/* Recurrent layers, one direction, from what their inputs contribute to every gate. ONNX operators LSTM-22, GRU-22, RNN-22. */
#include "args.h"
#include "real_gemm.h"

typedef struct {
    const float **rows;
    float *sums, *reset; /* [batch][gates * hidden], [batch][hidden] */
} workspace;

static workspace workspace_of(const ds_context *context, const ds_recurrent_args *a) {
    uint8_t *start = context->scratch;
    workspace space = {.rows = (const float **)(void *)start};
    space.sums = (float *)(void *)(start + (size_t)a->batch * sizeof(float *) / 16 * 16 + 16);
    space.reset = space.sums + (size_t)a->batch * (size_t)(a->gates * a->hidden);
    return space;
}

static float *reals(const ds_context *context, int32_t place) {
    return place == DS_NOWHERE ? NULL : (float *)(void *)ds_at(context, place);
}

/* sums = h rᵀ, r being kept as [hidden][columns]. */
static void product(const ds_context *context, const ds_recurrent_args *a, const workspace *space, const float *h, int32_t r,
                    int32_t bias, int columns, float *sums, long pitch) {
    ds_rgemm g = {.b = reals(context, r), .b_row = DS_COLUMNS, .b_panel = (long)a->hidden * DS_COLUMNS, .kept = DS_B_REAL,
                  .bias = reals(context, bias), .low = -INFINITY, .high = INFINITY, .depth = a->hidden, .columns = columns,
                  .pitch = pitch};
    for (int i = 0; i < a->batch; i++) space->rows[i] = h + (size_t)i * (size_t)a->hidden;
    ds_rgemm_run(&g, space->rows, a->batch, sums);
}

static void each(float *y, const float *x, const float *more, int count, bool tangent) {
    for (int i = 0; i < count; i += 4) {
        int width = count - i < 4 ? count - i : 4;
        ds_v4 v = ds_load_few(x + i, width) + ds_load_few(more + i, width);
        ds_store_few(y + i, tangent ? ds_tanh4(v) : ds_sigmoid4(v), width);
    }
}

/* Gates i, o, f, c: C = f ∘ C + i ∘ c, H = o ∘ tanh(C). */
static void lstm(const ds_recurrent_args *a, float *sums, const float *x, float *h, float *c) {
    int n = a->hidden;
    each(sums, sums, x, 3 * n, false);
    each(sums + 3 * n, sums + 3 * n, x + 3 * n, n, true);
    for (int i = 0; i < n; i += 4) {
        int width = n - i < 4 ? n - i : 4;
        ds_v4 state = ds_load_few(sums + 2 * n + i, width) * ds_load_few(c + i, width);
        state += ds_load_few(sums + i, width) * ds_load_few(sums + 3 * n + i, width);
        ds_store_few(c + i, state, width);
        ds_store_few(h + i, ds_load_few(sums + n + i, width) * ds_tanh4(state), width);
    }
}

/* Gates z, r, h; the reset gate meets the hidden gate's sums, or what they are sums of. */
static void gru_after(const ds_recurrent_args *a, float *sums, const float *x, float *h) {
    int n = a->hidden;
    each(sums, sums, x, 2 * n, false);
    for (int i = 0; i < n; i++) sums[2 * n + i] *= sums[n + i];
    each(sums + 2 * n, sums + 2 * n, x + 2 * n, n, true);
    for (int i = 0; i < n; i++) h[i] = (1.0f - sums[i]) * sums[2 * n + i] + sums[i] * h[i];
}

static void gru_before(const ds_context *context, const ds_recurrent_args *a, const workspace *space, const float *x, float *h) {
    int n = a->hidden, wide = 3 * n;
    for (int b = 0; b < a->batch; b++) {
        float *sums = space->sums + (size_t)b * (size_t)wide;
        each(sums, sums, x + (size_t)b * (size_t)wide, 2 * n, false);
        for (int i = 0; i < n; i++) space->reset[(size_t)b * (size_t)n + (size_t)i] = sums[n + i] * h[(size_t)b * (size_t)n + (size_t)i];
    }
    product(context, a, space, space->reset, a->r2, DS_NOWHERE, n, space->sums + 2 * n, wide);
    for (int b = 0; b < a->batch; b++) {
        float *sums = space->sums + (size_t)b * (size_t)wide, *state = h + (size_t)b * (size_t)n;
        each(sums + 2 * n, sums + 2 * n, x + (size_t)b * (size_t)wide + 2 * n, n, true);
        for (int i = 0; i < n; i++) state[i] = (1.0f - sums[i]) * sums[2 * n + i] + sums[i] * state[i];
    }
}

static void step(const ds_context *context, const ds_recurrent_args *a, const workspace *space, const float *x, float *h, float *c) {
    int wide = a->gates * a->hidden;
    bool before = a->kind == DS_GRU_BEFORE;
    product(context, a, space, h, a->r, a->bias, before ? 2 * a->hidden : wide, space->sums, wide);
    if (before) {
        gru_before(context, a, space, x, h);
        return;
    }
    for (int b = 0; b < a->batch; b++) {
        float *sums = space->sums + (size_t)b * (size_t)wide, *state = h + (size_t)b * (size_t)a->hidden;
        const float *given = x + (size_t)b * (size_t)wide;
        if (a->kind == DS_LSTM) lstm(a, sums, given, state, c + (size_t)b * (size_t)a->hidden);
        else if (a->kind == DS_GRU_AFTER) gru_after(a, sums, given, state);
        else each(state, sums, given, a->hidden, true);
    }
}

/* x [steps, batch, gates * hidden]; h and c [batch, hidden] hold the state before, then the state behind;
   y [steps, directions, batch, hidden] takes this direction's states. */
void ds_recurrent(ds_context *context, const void *arguments) {
    const ds_recurrent_args *a = arguments;
    workspace space = workspace_of(context, a);
    float *h = reals(context, a->h), *c = reals(context, a->c), *y = reals(context, a->y);
    size_t given = (size_t)a->batch * (size_t)(a->gates * a->hidden), made = (size_t)a->batch * (size_t)a->hidden;
    for (int i = 0; i < a->steps; i++) {
        size_t t = (size_t)(a->reverse ? a->steps - 1 - i : i);
        step(context, a, &space, reals(context, a->x) + t * given, h, c);
        memcpy(y + (t * (size_t)a->directions + (size_t)a->direction) * made, h, made * sizeof(float));
    }
}
