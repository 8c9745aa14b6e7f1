/* The lanes of SSE2, which every x86-64 processor has. */
#include <emmintrin.h>
#include <stdint.h>
#include <string.h>

#define ENCODE encode_sse2
#define WIDTH 4
#define VECTORS 4

typedef __m128 floats;
typedef __m128 mask;

static inline floats v_all(float f) { return _mm_set1_ps(f); }
static inline floats v_load(const float *p) { return _mm_load_ps(p); }
static inline floats v_read(const float *p) { return _mm_loadu_ps(p); } /* from anywhere */
static inline void v_store(float *p, floats a) { _mm_store_ps(p, a); }
static inline floats v_sqrt(floats a) { return _mm_sqrt_ps(a); }
static inline floats v_abs(floats a) { return _mm_andnot_ps(_mm_set1_ps(-0.0f), a); }
static inline floats v_negative(floats a) { return _mm_xor_ps(_mm_set1_ps(-0.0f), a); }
static inline floats v_min(floats a, floats b) { return _mm_min_ps(a, b); } /* a < b ? a : b */
static inline floats v_max(floats a, floats b) { return _mm_max_ps(a, b); } /* a > b ? a : b */
static inline mask v_less(floats a, floats b) { return _mm_cmplt_ps(a, b); }
static inline mask v_equal(floats a, floats b) { return _mm_cmpeq_ps(a, b); }
static inline mask v_both(mask a, mask b) { return _mm_and_ps(a, b); }
static inline mask v_either(mask a, mask b) { return _mm_or_ps(a, b); }
static inline mask v_but(mask a, mask b) { return _mm_andnot_ps(b, a); } /* a and not b */
static inline int v_any(mask a) { return _mm_movemask_ps(a) != 0; }

static inline floats v_pick(mask which, floats yes, floats no)
{
    return _mm_or_ps(_mm_and_ps(which, yes), _mm_andnot_ps(which, no));
}

/* The low 23 bits of a float, less 2^22, as a float: what `nearest_int` makes of it. */
static inline floats v_low_bits(floats a)
{
    const __m128i low = _mm_and_si128(_mm_castps_si128(a), _mm_set1_epi32(0x007fffff));
    return _mm_cvtepi32_ps(_mm_sub_epi32(low, _mm_set1_epi32(0x00400000)));
}

/* The low byte of the bits of a float, as a float. */
static inline floats v_low_byte(floats a)
{
    return _mm_cvtepi32_ps(_mm_and_si128(_mm_castps_si128(a), _mm_set1_epi32(0xff)));
}

/* Store whole numbers from 0 to 255 as bytes. */
static inline void v_bytes(uint8_t *p, floats whole)
{
    const __m128i half = _mm_packs_epi32(_mm_cvtps_epi32(whole), _mm_setzero_si128());
    const int32_t bytes = _mm_cvtsi128_si32(_mm_packus_epi16(half, half));
    memcpy(p, &bytes, sizeof bytes);
}

#include "lanes.h"
