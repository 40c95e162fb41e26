/* Softmax, normalization and reductions of real numbers; resampling along an axis; elements of one type as another. */
#include "args.h"
#include "real.h"

DS_INLINE float largest_of(const float *x, int count) {
    ds_v4 most = ds_all(x[0]);
    int i = 0;
    for (; i + 4 <= count; i += 4) most = ds_max(most, ds_load(x + i));
    float best = most[0];
    for (int k = 1; k < 4; k++) best = most[k] > best ? most[k] : best;
    for (; i < count; i++) best = x[i] > best ? x[i] : best;
    return best;
}

/* y = e^(x - shift), and the sum. */
static float powers(const float *x, float *y, int count, float shift) {
    ds_v4 sum = ds_all(0.0f), by = ds_all(shift);
    int i = 0;
    for (; i + 4 <= count; i += 4) {
        ds_v4 power = ds_exp4_below(ds_load(x + i) - by);
        sum += power;
        ds_store(y + i, power);
    }
    float total = ds_sum4(sum);
    if (i < count) {
        float rest[4];
        ds_store(rest, ds_exp4_below(ds_load_few(x + i, count - i) - by));
        for (int k = 0; i < count; i++, k++) total += y[i] = rest[k];
    }
    return total;
}

static void softmax_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_rsoftmax_args *a = arguments;
    for (int row = begin; row < end; row++) {
        const float *x = (const float *)(const void *)ds_at(context, a->x) + (size_t)row * (size_t)a->count;
        float *y = (float *)(void *)ds_at(context, a->y) + (size_t)row * (size_t)a->count;
        float most = largest_of(x, a->count), sum = powers(x, y, a->count, most);
        if (a->log) {
            float shift = logf(sum);
            int i = 0;
            for (; i + 4 <= a->count; i += 4) ds_store(y + i, ds_load(x + i) - ds_all(most) - ds_all(shift));
            for (; i < a->count; i++) y[i] = x[i] - most - shift;
        } else {
            float inverse = 1.0f / sum;
            int i = 0;
            for (; i + 4 <= a->count; i += 4) ds_store(y + i, ds_load(y + i) * ds_all(inverse));
            for (; i < a->count; i++) y[i] *= inverse;
        }
    }
}

void ds_rsoftmax(ds_context *context, const void *arguments) {
    const ds_rsoftmax_args *a = arguments;
    if (a->count > 0) ds_parallel(context, a->outer, 1, softmax_rows, a);
}

/* y = (x - mean) / sqrt(variance + epsilon) * gain + shift, with gains by element, or by row where a channel is one. */
static void normalize_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_rnormalize_args *a = arguments;
    const float *gain = (const float *)(const void *)ds_at(context, a->gain);
    const float *shift = (const float *)(const void *)ds_at(context, a->shift);
    for (int row = begin; row < end; row++) {
        const float *x = (const float *)(const void *)ds_at(context, a->x) + (size_t)row * (size_t)a->count;
        float *y = (float *)(void *)ds_at(context, a->y) + (size_t)row * (size_t)a->count;
        ds_v4 sums = ds_all(0.0f), squares = ds_all(0.0f);
        int whole = a->count / 4 * 4, i;
        for (i = 0; i < whole; i += 4) sums += ds_load(x + i);
        float mean = ds_sum4(sums);
        for (; i < a->count; i++) mean += x[i];
        mean /= (float)a->count;
        for (i = 0; i < whole; i += 4) {
            ds_v4 d = ds_load(x + i) - ds_all(mean);
            squares = ds_fma(d, d, squares);
        }
        float variance = ds_sum4(squares);
        for (; i < a->count; i++) variance += (x[i] - mean) * (x[i] - mean);
        float inverse = 1.0f / sqrtf(variance / (float)a->count + a->epsilon);
        const float *g = gain + (a->channels ? row % a->channels : 0), *s = shift + (a->channels ? row % a->channels : 0);
        for (i = 0; i < whole; i += 4) {
            ds_v4 d = (ds_load(x + i) - ds_all(mean)) * ds_all(inverse);
            ds_store(y + i, a->channels ? d * ds_all(*g) + ds_all(*s) : d * ds_load(g + i) + ds_load(s + i));
        }
        for (; i < a->count; i++) y[i] = (x[i] - mean) * inverse * g[a->channels ? 0 : i] + s[a->channels ? 0 : i];
    }
}

void ds_rnormalize(ds_context *context, const void *arguments) {
    const ds_rnormalize_args *a = arguments;
    ds_parallel(context, a->outer, 1, normalize_rows, a);
}

DS_INLINE ds_v4 joined(int op, ds_v4 sum, ds_v4 x) {
    switch (op) {
        case DS_R_MAX: return ds_max(sum, x);
        case DS_R_MIN: return ds_min(sum, x);
        case DS_R_PROD: return sum * x;
        case DS_R_L1: return sum + ds_abs(x);
        case DS_R_L2: case DS_R_SUMSQUARE: return ds_fma(x, x, sum);
        default: return sum + x;
    }
}

static float start_of(int op) { return op == DS_R_MAX ? -INFINITY : op == DS_R_MIN ? INFINITY : op == DS_R_PROD ? 1.0f : 0.0f; }

static float ended(int op, float sum, int count) {
    if (op == DS_R_MEAN) return sum / (float)count;
    return op == DS_R_L2 ? sqrtf(sum) : op == DS_R_LOGSUM ? logf(sum) : sum;
}

/* Along the axis elements lie on. */
static float reduced(int op, const float *x, int count) {
    ds_v4 sum = ds_all(start_of(op));
    int i = 0;
    for (; i + 4 <= count; i += 4) sum = joined(op, sum, ds_load(x + i));
    float v[4];
    ds_store(v, sum);
    ds_v4 total = ds_all(start_of(op));
    if (i) { /* partial sums join as such: squares and magnitudes were taken */
        int plain = op == DS_R_L1 || op == DS_R_L2 || op == DS_R_SUMSQUARE ? DS_R_SUM : op;
        for (int k = 0; k < 4; k++) total = joined(plain, total, ds_all(v[k]));
    }
    for (; i < count; i++) total = joined(op, total, ds_all(x[i]));
    return ended(op, total[0], count);
}

static void reduce_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_rreduce_args *a = arguments;
    for (int row = begin; row < end; row++) {
        const float *x = (const float *)(const void *)ds_at(context, a->x) + (size_t)row * (size_t)a->count * (size_t)a->inner;
        float *y = (float *)(void *)ds_at(context, a->y) + (size_t)row * (size_t)a->inner;
        if (a->inner == 1) {
            y[0] = reduced(a->op, x, a->count);
            continue;
        }
        for (int first = 0; first < a->inner; first += 4) {
            int width = a->inner - first < 4 ? a->inner - first : 4;
            ds_v4 sum = ds_all(start_of(a->op));
            for (int i = 0; i < a->count; i++)
                sum = joined(a->op, sum, ds_load_few(x + (size_t)i * (size_t)a->inner + first, width));
            for (int k = 0; k < width; k++) y[first + k] = ended(a->op, sum[k], a->count);
        }
    }
}

/* [outer, count, inner] to [outer, inner]. */
void ds_rreduce(ds_context *context, const void *arguments) {
    const ds_rreduce_args *a = arguments;
    ds_parallel(context, a->outer, 1, reduce_rows, a);
}

static void resample_rows(ds_context *context, const void *arguments, int thread, int begin, int end) {
    (void)thread;
    const ds_resample_args *a = arguments;
    const int32_t *places = (const int32_t *)(const void *)ds_at(context, a->places);
    const float *shares = (const float *)(const void *)ds_at(context, a->shares);
    for (int row = begin; row < end; row++) {
        int outer = row / a->count, out = row % a->count;
        const float *x = (const float *)(const void *)ds_at(context, a->x) + (size_t)outer * (size_t)a->axis * (size_t)a->inner;
        float *y = (float *)(void *)ds_at(context, a->y) + (size_t)row * (size_t)a->inner;
        for (int i = 0; i < a->inner; i += 4) {
            int width = a->inner - i < 4 ? a->inner - i : 4;
            ds_v4 sum = ds_all(a->outside);
            for (int t = 0; t < a->taps; t++) {
                int place = places[out * a->taps + t];
                if (place < 0) break;
                ds_v4 share = ds_all(shares[out * a->taps + t]);
                ds_v4 tap = ds_load_few(x + (size_t)place * (size_t)a->inner + i, width) * share;
                sum = t ? sum + tap : tap;
            }
            ds_store_few(y + i, sum, width);
        }
    }
}

/* x [outer, axis, inner] → y [outer, count, inner]: sums of elements at places, times shares; `outside` where the first place is below 0. */
void ds_resample(ds_context *context, const void *arguments) {
    const ds_resample_args *a = arguments;
    ds_parallel(context, a->outer * a->count, 1, resample_rows, a);
}
