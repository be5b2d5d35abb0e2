/* The parts of a Qwen3 layer that a matrix library does not have, for x86 CPUs with AVX-512 and its bf16 dot product.
 *
 * Every function reads and writes plain arrays of its caller, keeps no allocation, and runs on `num_threads` threads of
 * torch's OpenMP pool. Sums, norms, rotations and softmax are in fp32; numbers are rounded to bf16 once, when stored, to
 * nearest even. No function reads past the arrays that its arguments describe; unused rows of panels must be zero. Products
 * have two implementations: with registers here, and on the matrix unit in tiles.h. The caller selects one; everything else is
 * shared.
 *
 * Panels: the layout of keys and values for the product below. A run (a span of n tokens) has ceil(n / 64) panels of 64
 * tokens. For each key head, keys are [panel][D / 2][64 tokens][2 dimensions], and values, with D rounded up to V = a
 * multiple of 64, are [V / 64][panels * 32][64 dimensions][2 tokens].
 */

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t bf16;
typedef int64_t i64;

enum { LANES = 16, PANEL = 64, ROWS = 6, MAX_ROWS = 192, BLOCK = 256, MAX_WIDTH = 256 };

/* Vectors of sixteen numbers, and masks for their tails. */

static inline __mmask16 first(i64 count) { return count >= LANES ? 0xFFFF : (__mmask16)((1u << count) - 1); }

static inline __mmask32 first_pairs(i64 count) { return count >= 2 * LANES ? 0xFFFFFFFF : (1u << count) - 1; }

static inline __m512 widen(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }

static inline __m512 load(const bf16 *from, __mmask16 mask) { return widen(_mm256_maskz_loadu_epi16(mask, from)); }

static inline void store(bf16 *to, __mmask16 mask, __m512 x) {
    _mm256_mask_storeu_epi16(to, mask, (__m256i)_mm512_cvtneps_pbh(x));
}

/* Return 2^x for x <= 0, to about 2 units in the last place: a polynomial on [-0.5, 0.5], scaled by the whole part. */
static inline __m512 exp2_of(__m512 x) {
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 f = _mm512_sub_ps(x, whole);
    __m512 y = _mm512_set1_ps(1.5403530393381608e-4f); /* ln(2)^n / n!, n = 6 ... 0 */
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.3333558146428443e-3f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(9.6181291076284772e-3f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(5.5504108664821580e-2f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(2.4022650695910071e-1f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(6.9314718055994531e-1f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(y, whole);
}

/* Return 2^x for x <= 0, to a few millionths: enough for the weights of attention, which are rounded to 8 bits. A polynomial
 * of smallest relative error, the whole part added to its exponent. Clamped at 2^-125, which has no visible effect. */
static inline __m512 weight_of(__m512 x) {
    const __m512 shift = _mm512_set1_ps(12582912.0f); /* 1.5 * 2^23: a sum with it has no fraction */
    x = _mm512_max_ps(_mm512_set1_ps(-125.0f), x); /* in this order, NaN stays */
    const __m512 shifted = _mm512_add_ps(x, shift), f = _mm512_sub_ps(x, _mm512_sub_ps(shifted, shift));
    __m512 y = _mm512_set1_ps(9.570102207362652e-3f);
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(5.591785907745361e-2f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(2.40247443318367e-1f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(6.931217908859253e-1f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f));
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(y), _mm512_slli_epi32(_mm512_castps_si512(shifted), 23)));
}

/* Return x / (1 + e^-x). */
static inline __m512 silu(__m512 x) {
    const __m512 one = _mm512_set1_ps(1.0f), size = _mm512_abs_ps(x);
    const __m512 small = exp2_of(_mm512_mul_ps(size, _mm512_set1_ps(-1.4426950408889634f))); /* e^-|x|, at most 1 */
    const __mmask16 is_negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
    const __m512 share = _mm512_div_ps(one, _mm512_add_ps(one, small)); /* sigmoid of |x| */
    return _mm512_mul_ps(x, _mm512_mask_sub_ps(share, is_negative, one, share));
}

/* -- norms -------------------------------------------------------------------------------------------------------------- */

static inline float rms_scale(const bf16 *x, i64 width, float eps) {
    __m512 sum = _mm512_setzero_ps();
    for (i64 at = 0; at < width; at += LANES) {
        const __m512 part = load(x + at, first(width - at));
        sum = _mm512_fmadd_ps(part, part, sum);
    }
    return 1.0f / sqrtf(_mm512_reduce_add_ps(sum) / (float)width + eps);
}

/* out[t] = x[t] / rms(x[t]) * weight.  x, out: [num_tokens, width]; weight: [width]. */
void rms_norm(const bf16 *x, const float *weight, bf16 *out, i64 num_tokens, i64 width, float eps, int num_threads) {
#pragma omp parallel for num_threads(num_threads)
    for (i64 t = 0; t < num_tokens; t++) {
        const bf16 *from = x + t * width;
        const __m512 scale = _mm512_set1_ps(rms_scale(from, width, eps));
        for (i64 at = 0; at < width; at += LANES) {
            const __mmask16 mask = first(width - at);
            const __m512 scaled = _mm512_mul_ps(load(from + at, mask), scale);
            store(out + t * width + at, mask, _mm512_mul_ps(scaled, _mm512_maskz_loadu_ps(mask, weight + at)));
        }
    }
}

/* Normalise one head and rotate its first half against its second by the angles of its token; `factor` scales the result. */
static inline void turn(const bf16 *x, const float *weight, const float *cos_d, const float *sin_d, i64 width, float eps,
                        float factor, bf16 *out) {
    const i64 half = width / 2;
    const float scale = rms_scale(x, width, eps);
    const __m512 scales = _mm512_set1_ps(scale), factors = _mm512_set1_ps(factor);
    for (i64 at = 0; at < half; at += LANES) {
        const __mmask16 mask = first(half - at);
        const __m512 c = _mm512_maskz_loadu_ps(mask, cos_d + at), s = _mm512_maskz_loadu_ps(mask, sin_d + at);
        __m512 a = _mm512_mul_ps(load(x + at, mask), scales), b = _mm512_mul_ps(load(x + half + at, mask), scales);
        a = _mm512_mul_ps(a, _mm512_maskz_loadu_ps(mask, weight + at));
        b = _mm512_mul_ps(b, _mm512_maskz_loadu_ps(mask, weight + half + at));
        const __m512 turned_a = _mm512_fmsub_ps(a, c, _mm512_mul_ps(b, s));
        const __m512 turned_b = _mm512_fmadd_ps(b, c, _mm512_mul_ps(a, s));
        store(out + at, mask, _mm512_mul_ps(turned_a, factors));
        store(out + half + at, mask, _mm512_mul_ps(turned_b, factors));
    }
}

/* -- storing queries, keys and values ----------------------------------------------------------------------------------- */

/* Store the queries of tokens, normalised, rotated and scaled by `factor`.
 * x: [num_tokens, H, D] with `stride` numbers from token to token; cos, sin: [num_tokens, D / 2]; out: [num_tokens, H, D]. */
void place_queries(const bf16 *x, i64 stride, const float *weight, const float *cos_td, const float *sin_td, bf16 *out,
                   i64 num_tokens, i64 num_heads, i64 width, float eps, float factor, int num_threads) {
#pragma omp parallel for num_threads(num_threads)
    for (i64 t = 0; t < num_tokens; t++) {
        for (i64 h = 0; h < num_heads; h++) {
            turn(x + t * stride + h * width, weight, cos_td + t * (width / 2), sin_td + t * (width / 2), width, eps, factor,
                 out + (t * num_heads + h) * width);
        }
    }
}

static inline i64 padded(i64 width) { return (width + PANEL - 1) / PANEL * PANEL; }

/* Transpose sixteen by sixteen 32-bit numbers. */
static inline void transpose(__m512i x[LANES]) {
    __m512i y[LANES];
    for (int i = 0; i < 16; i += 2) {
        y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        for (int half = 0; half < 2; half++) {
            x[i + 2 * half] = _mm512_unpacklo_epi64(y[i + half], y[i + half + 2]);
            x[i + 2 * half + 1] = _mm512_unpackhi_epi64(y[i + half], y[i + half + 2]);
        }
    }
    for (int i = 0; i < 4; i++) { /* now quarters of registers, of rows 4 apart */
        const __m512i low = _mm512_shuffle_i32x4(x[i], x[i + 4], 0x88), low8 = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0x88);
        const __m512i high = _mm512_shuffle_i32x4(x[i], x[i + 4], 0xDD), high8 = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0xDD);
        y[i] = _mm512_shuffle_i32x4(low, low8, 0x88);
        y[i + 4] = _mm512_shuffle_i32x4(high, high8, 0x88);
        y[i + 8] = _mm512_shuffle_i32x4(low, low8, 0xDD);
        y[i + 12] = _mm512_shuffle_i32x4(high, high8, 0xDD);
    }
    memcpy(x, y, sizeof y);
}

/* Store the keys of tokens `from` to `to`, of sixteen adjacent ones in a panel, into their columns. */
static inline void spread_keys(const bf16 turned[LANES][MAX_WIDTH], i64 from, i64 to, i64 width, bf16 *keys) {
    const __mmask16 columns = first(to) & (__mmask16) ~first(from);
    for (i64 d = 0; d < width; d += 2 * LANES) {
        __m512i pairs[LANES];
        for (int n = 0; n < LANES; n++) pairs[n] = _mm512_loadu_si512(turned[n] + d);
        transpose(pairs);
        for (int k = 0; k < LANES && d + 2 * k < width; k++)
            _mm512_mask_storeu_epi32(keys + (d + 2 * k) * PANEL, columns, pairs[k]);
    }
}

/* Store the values of a pair of tokens into their row; either may be missing. */
static inline void spread_values(const bf16 *even, const bf16 *odd, i64 width, i64 panels, bf16 *values) {
    const __mmask32 which = (even ? 0x55555555u : 0) | (odd ? 0xAAAAAAAAu : 0);
    for (i64 d = 0; d < width; d += LANES) {
        const __mmask16 mask = first(width - d);
        const __m256i none = _mm256_setzero_si256();
        const __m512i low = _mm512_cvtepu16_epi32(even ? _mm256_maskz_loadu_epi16(mask, even + d) : none);
        const __m512i high = _mm512_cvtepu16_epi32(odd ? _mm256_maskz_loadu_epi16(mask, odd + d) : none);
        _mm512_mask_storeu_epi16(values + d / PANEL * panels * PANEL * PANEL + d % PANEL * 2,
                                 which & first_pairs(2 * (width - d)), _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
}

/* Store the keys of tokens, normalised and rotated, and their values, into panels: sixteen neighbours at a time, because the
 * numbers of one token are scattered, and those of sixteen fill whole cache lines.
 * k, v: [num_tokens, G, D], both with `stride` numbers from token to token; slots: [num_tokens, 3], each the first panel of the
 * token's run, the number of its panels, and the token's index in it; keys, values: panels. */
void place_keys(const bf16 *k, const bf16 *v, i64 stride, const float *weight, const float *cos_td, const float *sin_td, const i64 *slots,
                bf16 *keys, bf16 *values, i64 num_tokens, i64 num_heads, i64 width, float eps, int num_threads) {
    const i64 wide = padded(width);
#pragma omp parallel for num_threads(num_threads) schedule(dynamic, LANES)
    for (i64 t = 0; t < num_tokens; t++) {
        const i64 panel = slots[3 * t], panels = slots[3 * t + 1], place = slots[3 * t + 2], from = place % LANES;
        if (from && t) continue; /* stored with the first token of its sixteen */
        i64 to = from + 1;
        while (to < LANES && t + to - from < num_tokens && slots[3 * (t + to - from)] == panel) to++;
        for (i64 g = 0; g < num_heads; g++) {
            const i64 base = (panel * num_heads + g * panels) * PANEL;
            bf16 turned[LANES][MAX_WIDTH];
            for (i64 n = from; n < to; n++) {
                const i64 token = t + n - from, angle = token * (width / 2);
                turn(k + token * stride + g * width, weight, cos_td + angle, sin_td + angle, width, eps, 1.0f, turned[n]);
            }
            spread_keys(turned, from, to, width, keys + base * width + place / PANEL * PANEL * width + (place - from) % PANEL * 2);
            for (i64 n = from / 2 * 2; n < to; n += 2) {
                const i64 at = (t + n - from) * stride + g * width;
                spread_values(n >= from ? v + at : 0, n + 1 < to ? v + at + stride : 0, width, panels,
                              values + base * wide + (place - from + n) / 2 * (2 * PANEL));
            }
        }
    }
}

/* -- attention ---------------------------------------------------------------------------------------------------------- */

/* c[m] (+)= a[m] . panel, for `rows` rows and the panel's first `lanes` * 16 columns; a is [rows, 2 * pairs], the panel
 * [pairs][64][2]. Rows and lanes are compile-time constants, so that all sums stay in registers. */
static inline __attribute__((always_inline)) void product(const int rows, const int lanes, const int is_added, const bf16 *a,
                                                          i64 a_stride, const bf16 *panel, i64 pairs, float *c, i64 c_stride) {
    __m512 sum[ROWS][4];
    for (int m = 0; m < rows; m++)
        for (int n = 0; n < lanes; n++)
            sum[m][n] = is_added ? _mm512_loadu_ps(c + m * c_stride + n * LANES) : _mm512_setzero_ps();
    for (i64 k = 0; k < pairs; k++) {
        __m512bh b[4];
        for (int n = 0; n < lanes; n++) b[n] = (__m512bh)_mm512_loadu_si512(panel + (k * PANEL + n * LANES) * 2);
        for (int m = 0; m < rows; m++) {
            int32_t pair;
            memcpy(&pair, a + m * a_stride + 2 * k, sizeof pair);
            const __m512bh both = (__m512bh)_mm512_set1_epi32(pair);
            for (int n = 0; n < lanes; n++) __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum[m][n]) : "v"(both), "v"(b[n]));
        }
    }
    for (int m = 0; m < rows; m++)
        for (int n = 0; n < lanes; n++) _mm512_storeu_ps(c + m * c_stride + n * LANES, sum[m][n]);
}

#define ROWS_OF(f, ...) \
    switch (rows < ROWS ? rows : ROWS) { \
        case 1: f(1, __VA_ARGS__); break; \
        case 2: f(2, __VA_ARGS__); break; \
        case 3: f(3, __VA_ARGS__); break; \
        case 4: f(4, __VA_ARGS__); break; \
        case 5: f(5, __VA_ARGS__); break; \
        case 6: f(6, __VA_ARGS__); break; \
    }

static inline __attribute__((always_inline)) void multiply_lanes(const int lanes, const int is_added, i64 rows, const bf16 *a,
                                                                 i64 a_stride, const bf16 *panel, i64 pairs, float *c,
                                                                 i64 c_stride) {
    for (; rows > 0; rows -= ROWS, a += ROWS * a_stride, c += ROWS * c_stride) {
        ROWS_OF(product, lanes, is_added, a, a_stride, panel, pairs, c, c_stride)
    }
}

/* As `product`, for any number of rows and 1 to 64 columns, rounded up to 16. */
static void multiply(i64 rows, i64 columns, const bf16 *a, i64 a_stride, const bf16 *panel, i64 pairs, float *c, i64 c_stride) {
    switch ((columns + LANES - 1) / LANES) {
        case 1: multiply_lanes(1, 0, rows, a, a_stride, panel, pairs, c, c_stride); break;
        case 2: multiply_lanes(2, 0, rows, a, a_stride, panel, pairs, c, c_stride); break;
        case 3: multiply_lanes(3, 0, rows, a, a_stride, panel, pairs, c, c_stride); break;
        default: multiply_lanes(4, 0, rows, a, a_stride, panel, pairs, c, c_stride); break;
    }
}

static void multiply_and_add(i64 rows, i64 columns, const bf16 *a, i64 a_stride, const bf16 *panel, i64 pairs, float *c,
                             i64 c_stride) {
    switch ((columns + LANES - 1) / LANES) {
        case 1: multiply_lanes(1, 1, rows, a, a_stride, panel, pairs, c, c_stride); break;
        case 2: multiply_lanes(2, 1, rows, a, a_stride, panel, pairs, c, c_stride); break;
        case 3: multiply_lanes(3, 1, rows, a, a_stride, panel, pairs, c, c_stride); break;
        default: multiply_lanes(4, 1, rows, a, a_stride, panel, pairs, c, c_stride); break;
    }
}

/* -- 8-bit numbers ------------------------------------------------------------------------------------------------------ *
 *
 * Numbers are integers of -127 ... 127 times a scale. Each row of weights (an output) and each token has one scale per GROUP
 * consecutive inputs. Sums over a group are exact, in 32-bit integers; groups are added in fp32. The instructions multiply
 * unsigned by signed bytes, so tokens are stored with 128 added, which offsets subtract from the sums.
 *
 * Weights of N outputs and K inputs, both padded with zeros to multiples of 64: panels of 32 outputs, each [K / 64][2 tiles]
 * [16][16 outputs][4 inputs]; scales and offsets (-128 times the sum of a group's weights, the initial value of its sum), each
 * [tiles][groups][16]. A gated product has two matrices with interleaved tiles, each gate tile before its output tile.
 */

enum { TILE = 16, DEEP = 64, TILE_BYTES = TILE * DEEP, GROUP = 1024 };

/* A matrix packed by `pack_int8`. */
typedef struct {
    const int8_t *packed;
    const float *scales;
    const int32_t *offsets;
} Packed;

static inline i64 groups_of(i64 width) { return (width + GROUP - 1) / GROUP; }

static inline i64 deep(i64 width) { return (width + DEEP - 1) / DEEP * DEEP; }

#include "tiles.h"

/* The workspace of one thread: a block of queries against a block of keys. */
typedef struct {
    bf16 queries[MAX_ROWS * MAX_WIDTH];
    float scores[MAX_ROWS * BLOCK];
    bf16 weights[MAX_ROWS * BLOCK];
    float mixed[MAX_ROWS * MAX_WIDTH];
    float highest[MAX_ROWS];
    float total[MAX_ROWS];
} Desk;

/* Convert a row of scores, of which the first `seen` are unmasked, to weights relative to the highest score so far, and rescale
 * the sums of the previous blocks. Masked weights up to `num_keys`, rounded up to 32, become zero. */
static void weigh(Desk *desk, i64 row, i64 seen, i64 num_keys, i64 width) {
    const float *scores = desk->scores + row * BLOCK;
    bf16 *weights = desk->weights + row * BLOCK;
    i64 at = 0;
    if (seen > 0) {
        const __m512 lowest = _mm512_set1_ps(-INFINITY);
        __m512 highest = lowest;
        for (i64 n = 0; n < seen; n += LANES)
            highest = _mm512_max_ps(highest, _mm512_mask_loadu_ps(lowest, first(seen - n), scores + n));
        const float before = desk->highest[row], now = fmaxf(before, _mm512_reduce_max_ps(highest));
        const __m512 nows = _mm512_set1_ps(now);
        __m512 sum = _mm512_setzero_ps();
        for (; at < seen; at += LANES) {
            const __m512 weight =
                _mm512_maskz_mov_ps(first(seen - at), weight_of(_mm512_sub_ps(_mm512_loadu_ps(scores + at), nows)));
            sum = _mm512_add_ps(sum, weight);
            store(weights + at, 0xFFFF, weight);
        }
        if (now > before) {
            const float shrink = exp2f(before - now);
            desk->total[row] *= shrink;
            for (i64 d = 0; d < width; d += LANES) {
                float *mixed = desk->mixed + row * MAX_WIDTH + d;
                _mm512_storeu_ps(mixed, _mm512_mul_ps(_mm512_loadu_ps(mixed), _mm512_set1_ps(shrink)));
            }
            desk->highest[row] = now;
        }
        desk->total[row] += _mm512_reduce_add_ps(sum);
    }
    for (; at < num_keys || at % (2 * LANES); at += LANES) store(weights + at, 0xFFFF, _mm512_setzero_ps());
}

/* Attend `rows` queries to a run of `num_keys` keys; query row m attends to the first `sees + m / group` of them, or all. */
static void look(Desk *desk, i64 rows, i64 group, const bf16 *keys, const bf16 *values, i64 num_keys, i64 panels, i64 sees,
                 i64 width, int on_tiles) {
    const i64 last = sees + (rows - 1) / group, end = last < num_keys ? last : num_keys;
    for (i64 start = 0; start < end; start += BLOCK) {
        const i64 count = end - start < BLOCK ? end - start : BLOCK, pairs = (count + 1) / 2;
        for (i64 n = 0; n < count; n += PANEL) {
            const bf16 *panel = keys + (start + n) * width;
            if (on_tiles) multiply_tiles(rows, count - n, desk->queries, width, panel, width / 2, desk->scores + n, BLOCK, 0);
            else multiply(rows, count - n, desk->queries, width, panel, width / 2, desk->scores + n, BLOCK);
        }
        for (i64 m = 0; m < rows; m++) {
            const i64 seen = sees + m / group - start;
            weigh(desk, m, seen < count ? seen : count, count, width);
        }
        for (i64 d = 0; d < width; d += PANEL) {
            const bf16 *panel = values + (d * panels + start) * PANEL;
            if (on_tiles) multiply_tiles(rows, width - d, desk->weights, BLOCK, panel, pairs, desk->mixed + d, MAX_WIDTH, 1);
            else multiply_and_add(rows, width - d, desk->weights, BLOCK, panel, pairs, desk->mixed + d, MAX_WIDTH);
        }
    }
}

/* Attention of every query over its run's shared prefix, if it has one, and over its own run up to itself.
 *
 * queries, out: [num queries, G * group, D]; queries are scaled, so that a weight is 2 to the power of a product.
 * runs: [num runs, 2], each its first panel and its number of tokens. spans: [num spans, 5], each the row of its first query,
 * the number of queries, the index of the first in its run, its run, and the prefix's run or -1. tasks: [num_tasks, 2], each a
 * span and the first of up to `block` queries in it, with block * group at most MAX_ROWS. Tasks run key head by key head, so
 * that the keys and values of one head stay in the cache. Tiles are used if available and if they fit the width. */
void attend(const bf16 *queries, const bf16 *keys, const bf16 *values, bf16 *out, const i64 *runs, const i64 *spans,
            const i64 *tasks, i64 num_tasks, i64 num_heads, i64 group, i64 width, i64 block, int has_tiles,
            int num_threads) {
    const i64 wide = padded(width);
    const int on_tiles = has_tiles && width % (2 * LANES) == 0;
#pragma omp parallel num_threads(num_threads)
    {
        static _Thread_local Desk desk;
        if (on_tiles) begin_tiles();
#pragma omp for schedule(dynamic) collapse(2)
        for (i64 g = 0; g < num_heads; g++) {
            for (i64 task = 0; task < num_tasks; task++) {
                const i64 *span = spans + 5 * tasks[2 * task], offset = tasks[2 * task + 1];
                const i64 left = span[1] - offset, count = left < block ? left : block, rows = count * group;
                const i64 stride = num_heads * group * width, at = (span[0] + offset) * stride + g * group * width;
                for (i64 n = 0; n < count; n++)
                    memcpy(desk.queries + n * group * width, queries + at + n * stride, (size_t)(group * width) * sizeof(bf16));
                for (i64 m = 0; m < rows; m++) {
                    desk.highest[m] = -INFINITY;
                    desk.total[m] = 0;
                    memset(desk.mixed + m * MAX_WIDTH, 0, (size_t)wide * sizeof(float));
                }
                for (int own = 0; own < 2; own++) {
                    const i64 run = own ? span[3] : span[4];
                    if (run < 0) continue;
                    const i64 tokens = runs[2 * run + 1], panels = (tokens + PANEL - 1) / PANEL;
                    const i64 base = (runs[2 * run] * num_heads + g * panels) * PANEL;
                    const i64 sees = own ? span[2] + offset + 1 : tokens;
                    look(&desk, rows, group, keys + base * width, values + base * wide, tokens, panels, sees, width, on_tiles);
                }
                for (i64 m = 0; m < rows; m++) {
                    const __m512 share = _mm512_set1_ps(1.0f / desk.total[m]);
                    bf16 *to = out + at + m / group * stride + m % group * width;
                    for (i64 d = 0; d < width; d += LANES)
                        store(to + d, first(width - d), _mm512_mul_ps(_mm512_loadu_ps(desk.mixed + m * MAX_WIDTH + d), share));
                }
            }
        }
        if (on_tiles) end_tiles();
    }
}

/* -- 8-bit products ----------------------------------------------------------------------------------------------------- */

/* Return the absmax, or NaN if there is one: a scale of NaN makes every sum NaN, where rounding would hide it.
 * Without the sign, bf16 numbers are ordered like their bits, and NaN is above all of them. */
static inline float highest_of(const bf16 *x, i64 width) {
    __m512i highest = _mm512_setzero_si512();
    for (i64 at = 0; at < width; at += 2 * LANES) {
        const __m512i part = _mm512_maskz_loadu_epi16(first_pairs(width - at), x + at);
        highest = _mm512_max_epu16(highest, _mm512_and_si512(part, _mm512_set1_epi16(0x7FFF)));
    }
    const __m512i low = _mm512_and_si512(highest, _mm512_set1_epi32(0xFFFF)), high = _mm512_srli_epi32(highest, 16);
    const uint32_t bits = _mm512_reduce_max_epu32(_mm512_max_epu32(low, high)) << 16;
    float found;
    memcpy(&found, &bits, sizeof found);
    return found;
}

/* Round 32 numbers, at even and at odd indices, as fp32: the bf16 bits followed by 16 zero bits. */
static inline __m256i bytes_of(const bf16 *x, __mmask32 mask, float inverse) {
    const __m512i pairs = _mm512_maskz_loadu_epi16(mask, x);
    const __m512 even = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)), scale = _mm512_set1_ps(inverse);
    const __m512 odd = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xFFFF0000)));
    const __m512i low = _mm512_cvtps_epi32(_mm512_mul_ps(even, scale)), high = _mm512_cvtps_epi32(_mm512_mul_ps(odd, scale));
    return _mm512_cvtepi16_epi8(_mm512_mask_blend_epi16(0xAAAAAAAA, low, _mm512_slli_epi32(high, 16)));
}

/* weights: [num_outputs, num_inputs] bf16; packed, scales, offsets: as above, zero in the padding. Fills every `every`th tile
 * from tile `from` on. */
void pack_int8(const bf16 *weights, int8_t *packed, float *scales, int32_t *offsets, i64 num_outputs, i64 num_inputs, i64 from,
               i64 every, int num_threads) {
    const i64 groups = groups_of(num_inputs);
#pragma omp parallel for num_threads(num_threads)
    for (i64 n = 0; n < num_outputs; n++) {
        const i64 tile = from + n / TILE * every, place = n % TILE;
        int8_t *to = packed + tile / 2 * 2 * TILE * deep(num_inputs) + tile % 2 * TILE_BYTES + 4 * place;
        for (i64 g = 0; g < groups; g++) {
            const i64 start = g * GROUP, width = num_inputs - start < GROUP ? num_inputs - start : GROUP;
            const bf16 *row = weights + n * num_inputs + start;
            const float highest = highest_of(row, width), inverse = highest > 0 ? 127.0f / highest : 0;
            int8_t rounded[GROUP];
            for (i64 at = 0; at < width; at += 2 * LANES) {
                const __mmask32 mask = first_pairs(width - at);
                _mm256_mask_storeu_epi8(rounded + at, mask, bytes_of(row + at, mask, inverse));
            }
            int32_t sum = 0;
            for (i64 k = 0; k < width; k++) sum += rounded[k];
            for (i64 k = 0; k < width; k += 4)
                memcpy(to + (start + k) / DEEP * 2 * TILE_BYTES + k % DEEP / 4 * DEEP, rounded + k, 4);
            scales[(tile * groups + g) * TILE + place] = highest / 127.0f;
            offsets[(tile * groups + g) * TILE + place] = -128 * sum;
        }
    }
}

/* x: [num_tokens, width] bf16; bytes: [num_tokens, width]; scales: [num_tokens, groups]. */
void quantize(const bf16 *x, uint8_t *bytes, float *scales, i64 num_tokens, i64 width, int num_threads) {
    const i64 groups = groups_of(width);
#pragma omp parallel for num_threads(num_threads)
    for (i64 t = 0; t < num_tokens; t++) {
        for (i64 g = 0; g < groups; g++) {
            const i64 at = t * width + g * GROUP, count = width - g * GROUP < GROUP ? width - g * GROUP : GROUP;
            const float highest = highest_of(x + at, count), inverse = highest > 0 ? 127.0f / highest : 0;
            scales[t * groups + g] = highest / 127.0f;
            for (i64 k = 0; k < count; k += 2 * LANES) {
                const __mmask32 mask = first_pairs(count - k);
                const __m256i rounded = bytes_of(x + at + k, mask, inverse);
                _mm256_mask_storeu_epi8(bytes + at + k, mask, _mm256_xor_si256(rounded, _mm256_set1_epi8(-128)));
            }
        }
    }
}

/* Two panels, from the start of one group of inputs. */
typedef struct {
    const int8_t *packed;
    i64 panel_bytes, groups; /* from panel to panel, and in a row of scales */
    const float *scales;
    const int32_t *offsets;
} Panels;

/* sums[m] (+)= a[m] . panels over one group, scaled, for `rows` rows and 64 outputs. */
static inline __attribute__((always_inline)) void product_int8(const int rows, const int is_added, const uint8_t *a,
                                                               i64 a_stride, const float *a_scales, Panels w, i64 quads,
                                                               float *sums) {
    __m512i sum[ROWS][4];
    for (int m = 0; m < rows; m++)
        for (int n = 0; n < 4; n++) sum[m][n] = _mm512_loadu_si512(w.offsets + n * w.groups * TILE);
    for (i64 k = 0; k < quads; k++) {
        const int8_t *at = w.packed + k * DEEP + k / TILE * TILE_BYTES;
        __m512i b[4];
        for (int n = 0; n < 4; n++) b[n] = _mm512_loadu_si512(at + n / 2 * w.panel_bytes + n % 2 * TILE_BYTES);
        for (int m = 0; m < rows; m++) {
            int32_t quad;
            memcpy(&quad, a + m * a_stride + 4 * k, sizeof quad);
            const __m512i all = _mm512_set1_epi32(quad);
            for (int n = 0; n < 4; n++) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum[m][n]) : "v"(all), "v"(b[n]));
        }
    }
    for (int m = 0; m < rows; m++) {
        const __m512 token = _mm512_set1_ps(a_scales[m * w.groups]);
        for (int n = 0; n < 4; n++) {
            float *to = sums + m * PANEL + n * LANES;
            const __m512 scale = _mm512_mul_ps(token, _mm512_loadu_ps(w.scales + n * w.groups * TILE));
            const __m512 before = is_added ? _mm512_loadu_ps(to) : _mm512_setzero_ps();
            _mm512_storeu_ps(to, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[m][n]), scale, before));
        }
    }
}

static void multiply_group(i64 rows, const uint8_t *a, i64 a_stride, const float *a_scales, Panels w, i64 quads, float *sums,
                           int is_added) {
    for (; rows > 0; rows -= ROWS, a += ROWS * a_stride, a_scales += ROWS * w.groups, sums += ROWS * PANEL) {
        if (is_added) {
            ROWS_OF(product_int8, 1, a, a_stride, a_scales, w, quads, sums)
        } else {
            ROWS_OF(product_int8, 0, a, a_stride, a_scales, w, quads, sums)
        }
    }
}

enum { TOKENS = 96 };

/* out = x . w, plus `other` if it is given; or silu(x . gates) * (x . w) of a gated product, whose num_outputs counts both.
 * bytes, token_scales: [num_tokens, num_inputs] and [num_tokens, groups], from `quantize`, padded to a
 * multiple of 32, which tiles may read; other, out: [num_tokens, outputs] bf16. */
void linear_int8(const uint8_t *bytes, const float *token_scales, const int8_t *packed, const float *scales,
                 const int32_t *offsets, const bf16 *other, bf16 *out, i64 num_tokens, i64 num_inputs, i64 num_outputs,
                 int is_gated, int has_tiles, int num_threads) {
    if (has_tiles && num_inputs % DEEP == 0 && num_outputs % ((is_gated ? 4 : 2) * TILE) == 0) {
        const Packed w = {packed, scales, offsets};
        linear_int8_tiles(bytes, token_scales, w, other, out, num_tokens, num_inputs, num_outputs, is_gated, num_threads);
        return;
    }
    const i64 tasks = padded(num_outputs) / PANEL, blocks = (num_tokens + TOKENS - 1) / TOKENS, groups = groups_of(num_inputs);
    const i64 width = is_gated ? num_outputs / 2 : num_outputs, step = is_gated ? PANEL / 2 : PANEL;
    const i64 panel_bytes = 2 * TILE * deep(num_inputs);
#pragma omp parallel num_threads(num_threads)
    {
        static _Thread_local float sums[TOKENS * PANEL];
#pragma omp for schedule(dynamic) collapse(2)
        for (i64 task = 0; task < tasks; task++) {
            for (i64 block = 0; block < blocks; block++) {
                const i64 start = block * TOKENS, rows = num_tokens - start < TOKENS ? num_tokens - start : TOKENS;
                for (i64 g = 0; g < groups; g++) {
                    const i64 from = g * GROUP, count = num_inputs - from < GROUP ? num_inputs - from : GROUP;
                    const i64 place = (4 * task * groups + g) * TILE;
                    const int8_t *at = packed + 2 * task * panel_bytes + 2 * TILE * from;
                    const Panels w = {at, panel_bytes, groups, scales + place, offsets + place};
                    multiply_group(rows, bytes + start * num_inputs + from, num_inputs, token_scales + start * groups + g, w,
                                   count / 4, sums, g > 0);
                }
                for (i64 m = 0; m < rows; m++) {
                    for (i64 n = 0; n < step && task * step + n < width; n += LANES) {
                        const __mmask16 mask = first(width - task * step - n);
                        const i64 at = (start + m) * width + task * step + n;
                        const float *sum = sums + m * PANEL + (is_gated ? 2 * n : n);
                        __m512 x = _mm512_loadu_ps(sum);
                        if (is_gated) x = _mm512_mul_ps(silu(x), _mm512_loadu_ps(sum + LANES));
                        if (other) x = _mm512_add_ps(x, load(other + at, mask));
                        store(out + at, mask, x);
                    }
                }
            }
        }
    }
}

/* Incremented whenever a function or a layout changes, so that new code does not call an old library. */
int kernels_version(void) { return 4; }
