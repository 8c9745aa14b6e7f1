/* The kernels, in terms of the lanes that the including file defines: read kernels.h first.
 *
 * `floats` are WIDTH numbers, one for each lane, and what is computed for VECTORS of them at a time hides the
 * time that an addition takes. Lane k of a group is its k-th sub-block. */
#include "blocks.h"
#include "kernels.h"

enum { LANES = WIDTH * VECTORS };

#define EACH for (int v = 0; v < VECTORS; v++)
#define AT(array, i) v_load(&(array)[i][v * WIDTH])
#define PUT(array, i, value) v_store(&(array)[i][v * WIDTH], value)
#define ALIGNED __attribute__((aligned(64)))

static const float TINY = 1e-15f; /* a sub-block whose weights are all smaller counts as zero */

/* What was found for each sub-block: x ~ scale * level - min. The levels are those of `iscale * (x - from)`,
 * which is not the same: ggml fits scale and min to levels that it got from others. */
typedef struct {
    ALIGNED float scale[1][LANES];
    ALIGNED float min[1][LANES];
    ALIGNED float iscale[1][LANES];
    ALIGNED float from[1][LANES];
    ALIGNED float zero[1][LANES]; /* 1 where all weights count as zero */
} fit;

/* `nearest_int`, also where it wraps around. */
INLINE floats v_nearest(floats f)
{
    return v_low_bits(f + v_all(12582912.0f));
}

/* `nearest_int` of numbers within +-(2^22 - 1). */
INLINE floats v_nearest_within(floats f)
{
    return (f + v_all(12582912.0f)) - v_all(12582912.0f);
}

INLINE floats v_clamp(floats f, float least, float most)
{
    return v_max(v_min(f, v_all(most)), v_all(least));
}

/* The levels of `n` weights, which lie beside each other, for x ~ d * level - dm. */
INLINE void levels_with_min(const float *x, int n, float d, float dm, int top, uint8_t *levels)
{
    for (int i = 0; i < n; i += WIDTH)
        v_bytes(levels + i, v_clamp(v_nearest((v_read(x + i) + v_all(dm)) / v_all(d)), 0, (float)top));
}

/* The levels of `n` weights, which lie beside each other, for x ~ d * (level - half). */
INLINE void levels_around_zero(const float *x, int n, float d, int half, uint8_t *levels)
{
    for (int i = 0; i < n; i += WIDTH) {
        const floats l = v_clamp(v_nearest(v_read(x + i) / v_all(d)), (float)-half, (float)(half - 1));
        v_bytes(levels + i, l + v_all((float)half));
    }
}

/* Turn LANES sub-blocks of `n` weights so that a row of `stride` numbers begins with one weight of each. */
INLINE void turn(const float *x, int n, float *rows, int stride)
{
    for (int lane = 0; lane < LANES; lane += 4)
        for (int i = 0; i < n; i += 4) {
            const float *from = x + lane * n + i;
            float *to = rows + i * stride + lane;
            __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + n);
            __m128 c = _mm_loadu_ps(from + 2 * n), d = _mm_loadu_ps(from + 3 * n);
            _MM_TRANSPOSE4_PS(a, b, c, d);
            _mm_store_ps(to, a);
            _mm_store_ps(to + stride, b);
            _mm_store_ps(to + 2 * stride, c);
            _mm_store_ps(to + 3 * stride, d);
        }
}

enum { GROUP_OF_32 = LANES / 8, GROUP_OF_16 = LANES / 16 }; /* super-blocks in a group */

#include "with_min.h"

#include "around_zero.h"

#include "weighted.h"

#include "rows.h"
