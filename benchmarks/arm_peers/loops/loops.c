/* A float network as plain loops, channels of images innermost: what a C compiler makes of it at -O2, nothing by hand. */
#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Kernel elements that lie inside the input: the first, and the one behind the last. */
static int first(int missing, int step) { return missing <= 0 ? 0 : (missing + step - 1) / step; }
static int last(int reach, int step, int size) {
    int inside = reach <= 0 ? 0 : (reach + step - 1) / step;
    return inside < size ? inside : size;
}

static void conv(const float *x, const float *w, const float *b, float *y, int n, int c, int h, int wd, int o, int oh,
                 int ow, int kh, int kw, int sh, int sw, int dh, int dw, int top, int left, int groups) {
    int ci = c / groups, co = o / groups;
    for (int i = 0; i < n; i++)
        for (int oy = 0; oy < oh; oy++) {
            int y0 = first(top - oy * sh, dh), y1 = last(h + top - oy * sh, dh, kh);
            for (int ox = 0; ox < ow; ox++) {
                int x0 = first(left - ox * sw, dw), x1 = last(wd + left - ox * sw, dw, kw);
                for (int f = 0; f < o; f++) {
                    float sum = b ? b[f] : 0;
                    for (int ky = y0; ky < y1; ky++)
                        for (int kx = x0; kx < x1; kx++) {
                            size_t place = ((size_t)i * h + oy * sh - top + ky * dh) * wd + ox * sw - left + kx * dw;
                            const float *row = x + place * c + f / co * ci;
                            const float *tap = w + (((size_t)f * kh + ky) * kw + kx) * ci;
                            for (int d = 0; d < ci; d++) sum += row[d] * tap[d];
                        }
                    y[(((size_t)i * oh + oy) * ow + ox) * o + f] = sum;
                }
            }
        }
}

/* y[batch, m, n] = a[batch, m, k] b[k, n], with steps of b from batch to batch and along k and n. */
static void matmul(const float *a, const float *b, const float *bias, float *y, int batch, int m, int k, int n,
                   size_t b_batch, int b_row, int b_column) {
    for (int i = 0; i < batch; i++)
        for (int r = 0; r < m; r++)
            for (int j = 0; j < n; j++) {
                float sum = bias ? bias[j] : 0;
                for (int t = 0; t < k; t++)
                    sum += a[((size_t)i * m + r) * k + t] * b[i * b_batch + (size_t)t * b_row + (size_t)j * b_column];
                y[((size_t)i * m + r) * n + j] = sum;
            }
}

static void maxpool(const float *x, float *y, int n, int c, int h, int wd, int oh, int ow, int kh, int kw, int sh, int sw,
                    int top, int left) {
    for (int i = 0; i < n; i++)
        for (int oy = 0; oy < oh; oy++)
            for (int ox = 0; ox < ow; ox++)
                for (int d = 0; d < c; d++) {
                    float best = -FLT_MAX;
                    for (int ky = 0; ky < kh; ky++)
                        for (int kx = 0; kx < kw; kx++) {
                            int iy = oy * sh - top + ky, ix = ox * sw - left + kx;
                            if (iy < 0 || iy >= h || ix < 0 || ix >= wd) continue;
                            float v = x[(((size_t)i * h + iy) * wd + ix) * c + d];
                            if (v > best) best = v;
                        }
                    y[(((size_t)i * oh + oy) * ow + ox) * c + d] = best;
                }
}

/* Over all positions of each channel. */
static void mean(const float *x, float *y, int n, int c, int positions) {
    for (int i = 0; i < n; i++)
        for (int d = 0; d < c; d++) {
            float sum = 0;
            for (int p = 0; p < positions; p++) sum += x[((size_t)i * positions + p) * c + d];
            y[(size_t)i * c + d] = sum / positions;
        }
}

static void clip(const float *x, float *y, size_t count, float low, float high) {
    for (size_t i = 0; i < count; i++) y[i] = x[i] < low ? low : x[i] > high ? high : x[i];
}

static void add(const float *a, const float *b, float *y, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] = a[i] + b[i];
}

static void hard_sigmoid(const float *x, float *y, size_t count, float alpha, float beta) {
    for (size_t i = 0; i < count; i++) {
        float v = alpha * x[i] + beta;
        y[i] = v < 0 ? 0 : v > 1 ? 1 : v;
    }
}

static void hard_swish(const float *x, float *y, size_t count) {
    for (size_t i = 0; i < count; i++) {
        float v = x[i] * (1.0f / 6.0f) + 0.5f;
        y[i] = x[i] * (v < 0 ? 0 : v > 1 ? 1 : v);
    }
}

/* Each channel by a number of its own. */
static void scale(const float *x, const float *factors, float *y, int n, int positions, int c) {
    for (int i = 0; i < n; i++)
        for (int p = 0; p < positions; p++)
            for (int d = 0; d < c; d++) {
                size_t place = ((size_t)i * positions + p) * c + d;
                y[place] = x[place] * factors[(size_t)i * c + d];
            }
}

#define FOR_ALL for (int i = 0; i < n0; i++) for (int j = 0; j < n1; j++) for (int k = 0; k < n2; k++) for (int l = 0; l < n3; l++)

/* Sizes of the result, and steps of each input along its axes. */
#define PAIRS(name, operator)                                                                                          \
    static void name(const float *a, const float *b, float *y, int n0, int n1, int n2, int n3, int a0, int a1, int a2, \
                     int a3, int b0, int b1, int b2, int b3) {                                                          \
        FOR_ALL *y++ = a[i * a0 + j * a1 + k * a2 + l * a3] operator b[i * b0 + j * b1 + k * b2 + l * b3];              \
    }
PAIRS(add_pairs, +)
PAIRS(sub_pairs, -)
PAIRS(mul_pairs, *)
PAIRS(div_pairs, /)

static void move(const float *x, float *y, int n0, int n1, int n2, int n3, int s0, int s1, int s2, int s3) {
    FOR_ALL *y++ = x[i * s0 + j * s1 + k * s2 + l * s3];
}

static void gather(const float *table, const float *rows, float *y, int count, int width) {
    for (int i = 0; i < count; i++)
        for (int j = 0; j < width; j++) *y++ = table[(size_t)rows[i] * width + j];
}

static void softmax(const float *x, float *y, int rows, int width) {
    for (int i = 0; i < rows; i++, x += width, y += width) {
        float largest = x[0], sum = 0;
        for (int j = 1; j < width; j++) largest = x[j] > largest ? x[j] : largest;
        for (int j = 0; j < width; j++) sum += y[j] = expf(x[j] - largest);
        for (int j = 0; j < width; j++) y[j] /= sum;
    }
}

static void layer_norm(const float *x, const float *scale, const float *bias, float *y, int rows, int width,
                       float epsilon) {
    for (int i = 0; i < rows; i++, x += width, y += width) {
        float mean = 0, variance = 0;
        for (int j = 0; j < width; j++) mean += x[j];
        mean /= width;
        for (int j = 0; j < width; j++) variance += (x[j] - mean) * (x[j] - mean);
        float factor = 1 / sqrtf(variance / width + epsilon);
        for (int j = 0; j < width; j++) y[j] = (x[j] - mean) * factor * scale[j] + bias[j];
    }
}

static void sum(const float *x, float *y, int outer, int size, int inner) {
    for (int i = 0; i < outer; i++)
        for (int j = 0; j < inner; j++) {
            float total = 0;
            for (int k = 0; k < size; k++) total += x[((size_t)i * size + k) * inner + j];
            y[(size_t)i * inner + j] = total;
        }
}

static void norm(const float *x, float *y, int outer, int size, int inner) {
    for (int i = 0; i < outer; i++)
        for (int j = 0; j < inner; j++) {
            float total = 0;
            for (int k = 0; k < size; k++) {
                float v = x[((size_t)i * size + k) * inner + j];
                total += v * v;
            }
            y[(size_t)i * inner + j] = sqrtf(total);
        }
}

static void gelu(const float *x, float *y, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] = 0.5f * x[i] * (1 + erff(x[i] * 0.70710678f));
}

static float *load(const char *path, size_t count) {
    float *data = malloc(count * 4 + 4);
    FILE *file = fopen(path, "rb");
    if (file == NULL || data == NULL || fread(data, 4, count, file) != count) exit(1);
    fclose(file);
    return data;
}

static void save(const char *path, const float *data, size_t count) {
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 4, count, file) != count) exit(1);
    fclose(file);
}
