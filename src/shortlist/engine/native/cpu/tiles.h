/* The same products on Intel's matrix unit (AMX), if the CPU has one: several times as fast as with registers.
 *
 * A tile has 16 rows of 64 bytes. One instruction multiplies 16 rows of 32 bf16 numbers (64 of 8 bits) by as many rows of 16
 * columns and adds to 16 x 16 sums. It needs two bf16 numbers (four bytes) of a column of its right operand side by side.
 * Panels have this layout, so it reads both operands in place. Two by two tiles hold the sums: every loaded tile is then used
 * twice, and loading keeps up.
 *
 * Tiles belong to a thread: it acquires them with `begin_tiles` and releases them with `end_tiles`, so that the tile
 * configuration of other users, such as oneDNN, stays valid.
 */

#if defined(__x86_64__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)

#include <sys/syscall.h>
#include <unistd.h>

enum { DEPTH = 32 };

#define ON_TILES __attribute__((target("amx-tile,amx-bf16,amx-int8")))

/* Linux allocates tile state only for processes that request it. Return whether it did. */
int may_use_tiles(void) {
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

/* Eight full tiles: rows beyond the last row of a product are computed, too, and ignored. */
static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} SHAPE = {.palette = 1,
           .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
           .rows = {TILE, TILE, TILE, TILE, TILE, TILE, TILE, TILE}};

ON_TILES static void begin_tiles(void) { _tile_loadconfig(&SHAPE); }

ON_TILES static void end_tiles(void) { _tile_release(); }

/* Two by two tiles of c (+)= a . panel: `depth` steps of 32 numbers. Without `is_tall`, only the first row of tiles. */
ON_TILES static inline __attribute__((always_inline)) void multiply_tile(const int is_tall, const int is_added, const bf16 *a,
                                                                         i64 a_stride, const bf16 *panel, i64 depth, float *c,
                                                                         i64 c_stride) {
    const i64 a_bytes = a_stride * (i64)sizeof(bf16), c_bytes = c_stride * (i64)sizeof(float), b_bytes = 2 * PANEL * sizeof(bf16);
    float *low = c + TILE * c_stride;
    if (is_added) {
        _tile_loadd(0, c, c_bytes);
        _tile_loadd(1, c + TILE, c_bytes);
        if (is_tall) _tile_loadd(2, low, c_bytes);
        if (is_tall) _tile_loadd(3, low + TILE, c_bytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        if (is_tall) _tile_zero(2);
        if (is_tall) _tile_zero(3);
    }
    for (i64 k = 0; k < depth; k++) {
        const bf16 *b = panel + k * DEPTH * PANEL;
        _tile_loadd(4, a + k * DEPTH, a_bytes);
        _tile_loadd(6, b, b_bytes);
        _tile_loadd(7, b + 2 * TILE, b_bytes);
        if (is_tall) _tile_loadd(5, a + TILE * a_stride + k * DEPTH, a_bytes);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        if (is_tall) _tile_dpbf16ps(2, 5, 6);
        if (is_tall) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, c_bytes);
    _tile_stored(1, c + TILE, c_bytes);
    if (is_tall) _tile_stored(2, low, c_bytes);
    if (is_tall) _tile_stored(3, low + TILE, c_bytes);
}

/* As `multiply`, with both numbers of rows and columns rounded up: rows to 16, columns and the numbers in a row to 32. */
ON_TILES static void multiply_tiles(i64 rows, i64 columns, const bf16 *a, i64 a_stride, const bf16 *panel, i64 pairs, float *c,
                                    i64 c_stride, int is_added) {
    __asm__ volatile("" ::: "memory"); /* compilers do not see that tile loads depend on earlier stores */
    const i64 depth = (2 * pairs + DEPTH - 1) / DEPTH;
    for (i64 m = 0; m < rows; m += 2 * TILE) {
        for (i64 n = 0; n < columns && n < PANEL; n += 2 * TILE) {
            const bf16 *from = a + m * a_stride, *right = panel + 2 * n;
            float *to = c + m * c_stride + n;
            if (rows - m > TILE && is_added) multiply_tile(1, 1, from, a_stride, right, depth, to, c_stride);
            else if (rows - m > TILE) multiply_tile(1, 0, from, a_stride, right, depth, to, c_stride);
            else if (is_added) multiply_tile(0, 1, from, a_stride, right, depth, to, c_stride);
            else multiply_tile(0, 0, from, a_stride, right, depth, to, c_stride);
        }
    }
}

/* -- 16-bit products ---------------------------------------------------------------------------------------------------- *
 *
 * Weights of N outputs and K inputs, both multiples of 32: panels of 32 outputs, each [K / 32][2 tiles][16][16 outputs][2 inputs],
 * so that a step of the inputs is two full, adjacent tiles. A gated product has two matrices, interleaved by 16 outputs: an
 * output and its gate are computed together, from tokens that are loaded once.
 */

enum { PAIR = 2 * TILE, STEP = 2 * TILE * DEPTH, NEAR_BYTES = 1 << 20, NEAR_TOKENS = 1024 };

/* Return the number of blocks of tokens, so that a block stays in the second cache; a block has at least a pair of tiles. */
static inline i64 blocks_of(i64 num_tokens, i64 token_bytes) {
    const i64 near = NEAR_BYTES / token_bytes, most = near < PAIR ? PAIR : near < NEAR_TOKENS ? near : NEAR_TOKENS;
    return (num_tokens + most - 1) / most;
}

/* weights, gates: [num_outputs, num_inputs], the second only of a gated product; packed: as above. */
void pack_tiles(const bf16 *weights, const bf16 *gates, bf16 *packed, i64 num_outputs, i64 num_inputs, int num_threads) {
    const i64 tiles = num_outputs / TILE * (gates ? 2 : 1);
#pragma omp parallel for num_threads(num_threads)
    for (i64 tile = 0; tile < tiles; tile++) {
        const bf16 *from = gates ? (tile % 2 ? weights : gates) + tile / 2 * TILE * num_inputs : weights + tile * TILE * num_inputs;
        bf16 *to = packed + tile / 2 * PAIR * num_inputs + tile % 2 * TILE * DEPTH;
        for (i64 k = 0; k < num_inputs; k += DEPTH)
            for (i64 n = 0; n < TILE; n++)
                for (i64 d = 0; d < DEPTH; d++)
                    to[k / DEPTH * STEP + d / 2 * DEPTH + n * 2 + d % 2] = from[n * num_inputs + k + d];
    }
}

enum Part { WHOLE, FIRST_HALF, SECOND_HALF };

/* Unrounded sums of 32 rows and outputs, of which `rows` are used, and an optional tensor to add.
 * Gated sums are 16 gates followed by their 16 outputs: half a cache line, of which the first half waits for the second. */
typedef struct {
    float *sums;
    const bf16 *other;
    bf16 *out, *kept;
    i64 rows, stride;
    enum Part part;
} Unrounded;

/* Round a row of 32 sums, and write the line past the caches: rows are so far apart that fetching the overwritten lines would
 * take longer than the products. */
static inline void finish_row(const Unrounded *done, i64 row, __m512 low, __m512 high) {
    const i64 at = row * done->stride;
    __m512i line;
    if (done->part == WHOLE) {
        if (done->other) low = _mm512_add_ps(low, load(done->other + at, 0xFFFF));
        if (done->other) high = _mm512_add_ps(high, load(done->other + at + TILE, 0xFFFF));
        line = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    } else {
        const __m256i half = (__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(silu(low), high));
        __m256i *kept = (__m256i *)(done->kept + row * TILE);
        if (done->part == FIRST_HALF) {
            _mm256_store_si256(kept, half);
            return;
        }
        line = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_load_si256(kept)), half, 1);
    }
    _mm512_stream_si512((__m512i *)(done->out + at), line);
}

/* Prefetch the tensor to add, for `count` rows. */
static inline void ask_for_other(const Unrounded *now, i64 row, i64 count) {
    if (!now->other) return;
    for (const i64 stop = row + count; row < stop && row < now->rows; row++)
        _mm_prefetch((const char *)(now->other + row * now->stride), _MM_HINT_T0);
}

static inline void round_row(const Unrounded *done, i64 row) {
    const float *sums = done->sums + row * PAIR;
    finish_row(done, row, _mm512_load_ps(sums), _mm512_load_ps(sums + TILE));
}

/* sums = a . panel: 32 rows and outputs, `depth` steps of 32 inputs. Every step also rounds a few rows of the previous sums,
 * because the vector registers idle while the unit multiplies, and prefetches `ahead_lines` lines from `ahead`. */
ON_TILES static void multiply_pair(const bf16 *a, i64 a_stride, const bf16 *panel, i64 depth, const Unrounded *now,
                                   const Unrounded *before, const char *ahead, i64 ahead_lines) {
    float *sums = now->sums;
    const i64 a_bytes = a_stride * (i64)sizeof(bf16), b_bytes = 4 * TILE, sum_bytes = PAIR * sizeof(float);
    const i64 rows = before->rows, a_step = (PAIR + depth - 1) / depth;
    const bf16 *low = a + TILE * a_stride;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (i64 k = 0, row = 0; k < depth; k++) {
        _tile_loadd(4, a + k * DEPTH, a_bytes);
        _tile_loadd(6, panel + k * STEP, b_bytes);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, panel + k * STEP + STEP / 2, b_bytes);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, low + k * DEPTH, a_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        for (i64 line = 0; line < ahead_lines; line++) _mm_prefetch(ahead + 64 * (k * ahead_lines + line), _MM_HINT_T1);
        ask_for_other(now, k * a_step, a_step);
        for (const i64 stop = row + a_step; row < stop && row < rows; row++) round_row(before, row);
    }
    _tile_stored(0, sums, sum_bytes);
    _tile_stored(1, sums + TILE, sum_bytes);
    _tile_stored(2, sums + TILE * PAIR, sum_bytes);
    _tile_stored(3, sums + TILE * PAIR + TILE, sum_bytes);
}

/* out = x . w, plus `other` if it is given; or silu(x . gates) * (x . w) of a gated product, whose num_outputs counts both.
 * x: [num_tokens, num_inputs]; other, out: [num_tokens, outputs] bf16, which may be the same; out begins with a line.
 *
 * Blocks of tokens stay in the second cache while all weights are read once; the next weights are prefetched during the
 * product. Threads alternate over the panels of a line of outputs, so that they share a block. */
void linear_tiles(const bf16 *x, const bf16 *packed, const bf16 *other, bf16 *out, i64 num_tokens, i64 num_inputs, i64 num_outputs,
                  int is_gated, int num_threads) {
    const i64 depth = num_inputs / DEPTH, halves = is_gated ? 2 : 1, width = num_outputs / halves, lines = width / PAIR;
    const i64 pairs = (num_tokens + PAIR - 1) / PAIR, blocks = blocks_of(num_tokens, num_inputs * (i64)sizeof(bf16));
#pragma omp parallel num_threads(num_threads)
    {
        static _Thread_local float sums[2][PAIR * PAIR] __attribute__((aligned(64)));
        static _Thread_local bf16 kept[NEAR_TOKENS * TILE] __attribute__((aligned(64)));
        Unrounded before = {.rows = 0};
        int turn = 0;
        bf16 last[PAIR * num_inputs]; /* the rows after the last full pair of tiles, padded, because tiles read all rows */
        const i64 whole = num_tokens / PAIR * PAIR, left = num_tokens - whole;
        memcpy(last, x + whole * num_inputs, (size_t)(left * num_inputs) * sizeof(bf16));
        memset(last + left * num_inputs, 0, (size_t)((PAIR - left) * num_inputs) * sizeof(bf16));
        begin_tiles();
        for (i64 block = 0; block < blocks; block++) {
            const i64 start = pairs * block / blocks, stop = pairs * (block + 1) / blocks;
            const i64 share = (PAIR + stop - start - 1) / (stop - start);
#pragma omp for schedule(static, 1) nowait
            for (i64 line = 0; line < lines; line++) {
                for (i64 half = 0; half < halves; half++) {
                    const i64 panel = line * halves + half, next = half + 1 < halves ? panel + 1 : (line + num_threads) * halves;
                    const bf16 *right = packed + panel * PAIR * num_inputs;
                    const char *ahead = (const char *)(packed + next * PAIR * num_inputs);
                    for (i64 pair = start; pair < stop; pair++) {
                        const i64 m = pair * PAIR, at = m * width + line * PAIR, asked = (pair - start) * share;
                        const int is_asking = asked < PAIR && next < lines * halves;
                        const bf16 *a = m < whole ? x + m * num_inputs : last;
                        turn = !turn;
                        const Unrounded now = {sums[turn], other ? other + at : 0, out + at, kept + (m - start * PAIR) * TILE,
                                               m < whole ? PAIR : left, width, is_gated ? FIRST_HALF + half : WHOLE};
                        multiply_pair(a, num_inputs, right, depth, &now, &before, ahead + 64 * depth * asked,
                                      is_asking ? share : 0);
                        before = now;
                    }
                }
            }
        }
        for (i64 row = 0; row < before.rows; row++) round_row(&before, row);
        end_tiles();
        _mm_sfence();
    }
}

/* -- 8-bit products ------------------------------------------------------------------------------------------------------ *
 *
 * The same order of tokens and panels, in the layout of `pack_int8`. A step is 64 inputs. The results are integer sums over a
 * group of inputs. Registers scale them and add the previous groups while the unit computes the next group.
 */

/* Integer sums of 32 rows and outputs over one group: unscaled, and after the last group unrounded. */
typedef struct {
    const int32_t *whole;
    const float *token_scales; /* `groups` apart */
    const float *scales[2];    /* of the outputs of each tile */
    float *sums;               /* of the previous groups */
    i64 groups;
    int is_first, is_last;
    Unrounded done;
} Unscaled;

static inline void scale_row(const Unscaled *from, i64 row) {
    const __m512 token = _mm512_set1_ps(from->token_scales[row * from->groups]);
    __m512 value[2];
    for (int n = 0; n < 2; n++) {
        const __m512 whole = _mm512_cvtepi32_ps(_mm512_load_si512(from->whole + row * PAIR + n * TILE));
        const __m512 before = from->is_first ? _mm512_setzero_ps() : _mm512_load_ps(from->sums + row * PAIR + n * TILE);
        value[n] = _mm512_fmadd_ps(whole, _mm512_mul_ps(token, _mm512_loadu_ps(from->scales[n])), before);
    }
    if (from->is_last) {
        finish_row(&from->done, row, value[0], value[1]);
        return;
    }
    _mm512_store_ps(from->sums + row * PAIR, value[0]);
    _mm512_store_ps(from->sums + row * PAIR + TILE, value[1]);
}

/* whole = offsets + a . panel: 32 rows and outputs, `depth` steps of 64 inputs; the rest as `multiply_pair`. */
ON_TILES static void multiply_bytes(const uint8_t *a, i64 a_stride, const int8_t *panel, i64 depth, const int32_t *offsets[2],
                                    int32_t *whole, const Unrounded *now, const Unscaled *before, const char *ahead,
                                    i64 ahead_lines) {
    const i64 row_bytes = 4 * TILE, whole_bytes = PAIR * sizeof(int32_t);
    const i64 rows = before->done.rows, a_step = (PAIR + depth - 1) / depth;
    const uint8_t *low = a + TILE * a_stride;
    _tile_loadd(0, offsets[0], 0); /* the same in every row */
    _tile_loadd(1, offsets[1], 0);
    _tile_loadd(2, offsets[0], 0);
    _tile_loadd(3, offsets[1], 0);
    for (i64 k = 0, row = 0; k < depth; k++) {
        _tile_loadd(4, a + k * DEEP, a_stride);
        _tile_loadd(6, panel + k * 2 * TILE_BYTES, row_bytes);
        _tile_dpbusd(0, 4, 6);
        _tile_loadd(7, panel + k * 2 * TILE_BYTES + TILE_BYTES, row_bytes);
        _tile_dpbusd(1, 4, 7);
        _tile_loadd(5, low + k * DEEP, a_stride);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
        for (i64 line = 0; line < ahead_lines; line++) _mm_prefetch(ahead + 64 * (k * ahead_lines + line), _MM_HINT_T1);
        ask_for_other(now, k * a_step, a_step);
        for (const i64 stop = row + a_step; row < stop && row < rows; row++) scale_row(before, row);
    }
    _tile_stored(0, whole, whole_bytes);
    _tile_stored(1, whole + TILE, whole_bytes);
    _tile_stored(2, whole + TILE * PAIR, whole_bytes);
    _tile_stored(3, whole + TILE * PAIR + TILE, whole_bytes);
}

/* As `linear_int8`, for multiples of 64 inputs and full lines of outputs; reads 32 tokens at once. */
static void linear_int8_tiles(const uint8_t *bytes, const float *token_scales, Packed w, const bf16 *other, bf16 *out,
                              i64 num_tokens, i64 num_inputs, i64 num_outputs, int is_gated, int num_threads) {
    const i64 groups = groups_of(num_inputs), halves = is_gated ? 2 : 1, width = num_outputs / halves, lines = width / PAIR;
    const i64 pairs = (num_tokens + PAIR - 1) / PAIR, blocks = blocks_of(num_tokens, num_inputs);
#pragma omp parallel num_threads(num_threads)
    {
        static _Thread_local int32_t whole[2][PAIR * PAIR] __attribute__((aligned(64)));
        static _Thread_local float sums[PAIR * PAIR] __attribute__((aligned(64)));
        static _Thread_local bf16 kept[NEAR_TOKENS * TILE] __attribute__((aligned(64)));
        Unscaled before = {.done.rows = 0};
        int turn = 0;
        begin_tiles();
        for (i64 block = 0; block < blocks; block++) {
            const i64 start = pairs * block / blocks, stop = pairs * (block + 1) / blocks;
            const i64 share = (PAIR + stop - start - 1) / (stop - start);
#pragma omp for schedule(static, 1) nowait
            for (i64 line = 0; line < lines; line++) {
                for (i64 half = 0; half < halves; half++) {
                    const i64 panel = line * halves + half, next = half + 1 < halves ? panel + 1 : (line + num_threads) * halves;
                    const int8_t *right = w.packed + panel * PAIR * num_inputs;
                    const char *ahead = (const char *)(w.packed + next * PAIR * num_inputs);
                    for (i64 pair = start; pair < stop; pair++) {
                        const i64 m = pair * PAIR, rows = num_tokens - m < PAIR ? num_tokens - m : PAIR;
                        const i64 at = m * width + line * PAIR, asked = (pair - start) * share;
                        const int is_asking = asked < PAIR && next < lines * halves;
                        const Unrounded done = {0, other ? other + at : 0, out + at, kept + (m - start * PAIR) * TILE,
                                                rows, width, is_gated ? FIRST_HALF + half : WHOLE};
                        for (i64 g = 0; g < groups; g++) {
                            const i64 from = g * GROUP, depth = (num_inputs - from < GROUP ? num_inputs - from : GROUP) / DEEP;
                            const i64 place = (2 * panel * groups + g) * TILE, also = place + groups * TILE;
                            const int32_t *offsets[2] = {w.offsets + place, w.offsets + also};
                            turn = !turn;
                            multiply_bytes(bytes + m * num_inputs + from, num_inputs, right + PAIR * from, depth, offsets,
                                           whole[turn], &done, &before,
                                           ahead + 64 * (num_inputs / DEEP * asked + from / DEEP * share), is_asking ? share : 0);
                            before = (Unscaled){whole[turn], token_scales + m * groups + g, {w.scales + place, w.scales + also},
                                                sums, groups, g == 0, g == groups - 1, done};
                        }
                    }
                }
            }
        }
        for (i64 row = 0; row < before.done.rows; row++) scale_row(&before, row);
        end_tiles();
        _mm_sfence();
    }
}

#else /* a compiler without AMX support */

int may_use_tiles(void) { return 0; }
static void begin_tiles(void) {}
static void end_tiles(void) {}
static void multiply_tiles(i64 rows, i64 columns, const bf16 *a, i64 a_stride, const bf16 *panel, i64 pairs, float *c,
                           i64 c_stride, int is_added) {
    (void)rows, (void)columns, (void)a, (void)a_stride, (void)panel, (void)pairs, (void)c, (void)c_stride, (void)is_added;
}
static void linear_int8_tiles(const uint8_t *bytes, const float *token_scales, Packed w, const bf16 *other, bf16 *out,
                              i64 num_tokens, i64 num_inputs, i64 num_outputs, int is_gated, int num_threads) {
    (void)bytes, (void)token_scales, (void)w, (void)other, (void)out, (void)num_tokens, (void)num_inputs, (void)num_outputs;
    (void)is_gated, (void)num_threads;
}
void pack_tiles(const bf16 *weights, const bf16 *gates, bf16 *packed, i64 num_outputs, i64 num_inputs, int num_threads) {
    (void)weights, (void)gates, (void)packed, (void)num_outputs, (void)num_inputs, (void)num_threads;
}
void linear_tiles(const bf16 *x, const bf16 *packed, const bf16 *other, bf16 *out, i64 num_tokens, i64 num_inputs, i64 num_outputs,
                  int is_gated, int num_threads) {
    (void)x, (void)packed, (void)other, (void)out, (void)num_tokens, (void)num_inputs, (void)num_outputs, (void)is_gated;
    (void)num_threads;
}

#endif
