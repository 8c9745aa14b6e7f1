/* The lanes of AVX2. */
#include <immintrin.h>
#include <stdint.h>

#define ENCODE encode_avx2
#define WIDTH 8
#define VECTORS 2

typedef __m256 floats;
typedef __m256 mask;

static inline floats v_all(float f) { return _mm256_set1_ps(f); }
static inline floats v_load(const float *p) { return _mm256_load_ps(p); }
static inline floats v_read(const float *p) { return _mm256_loadu_ps(p); } /* from anywhere */
static inline void v_store(float *p, floats a) { _mm256_store_ps(p, a); }
static inline floats v_sqrt(floats a) { return _mm256_sqrt_ps(a); }
static inline floats v_abs(floats a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline floats v_negative(floats a) { return _mm256_xor_ps(_mm256_set1_ps(-0.0f), a); }
static inline floats v_min(floats a, floats b) { return _mm256_min_ps(a, b); } /* a < b ? a : b */
static inline floats v_max(floats a, floats b) { return _mm256_max_ps(a, b); } /* a > b ? a : b */
static inline mask v_less(floats a, floats b) { return _mm256_cmp_ps(a, b, _CMP_LT_OS); }
static inline mask v_equal(floats a, floats b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
static inline mask v_both(mask a, mask b) { return _mm256_and_ps(a, b); }
static inline mask v_either(mask a, mask b) { return _mm256_or_ps(a, b); }
static inline mask v_but(mask a, mask b) { return _mm256_andnot_ps(b, a); } /* a and not b */
static inline int v_any(mask a) { return _mm256_movemask_ps(a) != 0; }
static inline floats v_pick(mask which, floats yes, floats no) { return _mm256_blendv_ps(no, yes, which); }

/* The low 23 bits of a float, less 2^22, as a float: what `nearest_int` makes of it. */
static inline floats v_low_bits(floats a)
{
    const __m256i low = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x007fffff));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(low, _mm256_set1_epi32(0x00400000)));
}

/* The low byte of the bits of a float, as a float. */
static inline floats v_low_byte(floats a)
{
    return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0xff)));
}

/* Store whole numbers from 0 to 255 as bytes. */
static inline void v_bytes(uint8_t *p, floats whole)
{
    const __m256i i = _mm256_cvtps_epi32(whole);
    const __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(half, half));
}

#include "lanes.h"
