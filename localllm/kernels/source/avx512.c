/* The lanes of AVX-512 (F, BW, DQ and VL), whose comparisons make bits instead of vectors. */
#include <immintrin.h>
#include <stdint.h>

#define ENCODE encode_avx512
#define WIDTH 16
#define VECTORS 2

typedef __m512 floats;
typedef __mmask16 mask;

static inline floats v_all(float f) { return _mm512_set1_ps(f); }
static inline floats v_load(const float *p) { return _mm512_load_ps(p); }
static inline floats v_read(const float *p) { return _mm512_loadu_ps(p); } /* from anywhere */
static inline void v_store(float *p, floats a) { _mm512_store_ps(p, a); }
static inline floats v_sqrt(floats a) { return _mm512_sqrt_ps(a); }
static inline floats v_abs(floats a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
static inline floats v_negative(floats a) { return _mm512_xor_ps(_mm512_set1_ps(-0.0f), a); }
static inline floats v_min(floats a, floats b) { return _mm512_min_ps(a, b); } /* a < b ? a : b */
static inline floats v_max(floats a, floats b) { return _mm512_max_ps(a, b); } /* a > b ? a : b */
static inline mask v_less(floats a, floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OS); }
static inline mask v_equal(floats a, floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
static inline mask v_both(mask a, mask b) { return (mask)(a & b); }
static inline mask v_either(mask a, mask b) { return (mask)(a | b); }
static inline mask v_but(mask a, mask b) { return (mask)(a & ~b); } /* a and not b */
static inline int v_any(mask a) { return a != 0; }
static inline floats v_pick(mask which, floats yes, floats no) { return _mm512_mask_blend_ps(which, no, yes); }

/* The low 23 bits of a float, less 2^22, as a float: what `nearest_int` makes of it. */
static inline floats v_low_bits(floats a)
{
    const __m512i low = _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x007fffff));
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(low, _mm512_set1_epi32(0x00400000)));
}

/* The low byte of the bits of a float, as a float. */
static inline floats v_low_byte(floats a)
{
    return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0xff)));
}

/* Store whole numbers from 0 to 255 as bytes. */
static inline void v_bytes(uint8_t *p, floats whole)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(whole)));
}

#include "lanes.h"
