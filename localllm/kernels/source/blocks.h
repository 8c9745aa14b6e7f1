/* The blocks that files hold, and what is done once a block: numbers in half precision, packing.
 *
 * Plain C, compiled for each instruction set; the compiler makes vectors of the loops over levels. */
#ifndef LOCALLLM_BLOCKS_H
#define LOCALLLM_BLOCKS_H

#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { SUPER = 256 }; /* weights in a super-block */

typedef struct { uint8_t d[2]; int8_t levels[32]; } block_q8_0;
typedef struct { uint8_t scales[16], levels[64], d[2], dmin[2]; } block_q2_k;
typedef struct { uint8_t high[32], levels[64], scales[12], d[2]; } block_q3_k;
typedef struct { uint8_t d[2], dmin[2], scales[12], levels[128]; } block_q4_k;
typedef struct { uint8_t d[2], dmin[2], scales[12], high[32], levels[128]; } block_q5_k;
typedef struct { uint8_t low[128], high[64]; int8_t scales[16]; uint8_t d[2]; } block_q6_k;

INLINE uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

INLINE float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Round to the nearest integer, ties to even, by adding 1.5 * 2^23: the integer is then in the low bits.
 * Beyond 2^22 it wraps around, and NaN is 0; ggml's results have that in them. */
INLINE int nearest_int(float f)
{
    return (int)(bits_of(f + 12582912.0f) & 0x007fffff) - 0x00400000;
}

INLINE int clamp(int value, int least, int most)
{
    return value < least ? least : value > most ? most : value;
}

/* Round to half precision, ties to even; beyond its range lies infinity. */
INLINE uint16_t half_of(float f)
{
    const uint32_t bits = bits_of(f), size = bits & 0x7fffffff;
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (size > 0x7f800000) /* NaN */
        return sign | 0x7e00;
    if (size >= 0x477ff000) /* 65520 and more */
        return sign | 0x7c00;
    if (size < 0x38800000) /* below 2^-14: adding 0.5 rounds to a multiple of 2^-24 */
        return (uint16_t)(sign | (bits_of(float_of(size) + 0.5f) - 0x3f000000));
    return (uint16_t)(sign | ((size + 0xfff + (size >> 13 & 1) - 0x38000000) >> 13));
}

INLINE float float_of_half(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, size = half & 0x7fff;
    if (size < 0x0400)
        return float_of(sign | bits_of((float)size * 0x1p-24f));
    return float_of(sign | ((size << 13) + (size < 0x7c00 ? 0x38000000 : 0x70000000)));
}

/* Store `f` in half precision and return what that holds. */
INLINE float put_half(uint8_t to[2], float f)
{
    const uint16_t half = half_of(f);
    memcpy(to, &half, sizeof half);
    return float_of_half(half);
}

/* Four levels of two bits in a byte, from quarters of 128 weights. */
INLINE void pack_two_bits(const uint8_t *levels, uint8_t *packed)
{
    for (int part = 0; part < SUPER; part += 128)
        for (int i = 0; i < 32; i++) {
            const uint8_t *l = levels + part + i;
            packed[part / 4 + i] = (uint8_t)((l[0] & 3) | (l[32] & 3) << 2 | (l[64] & 3) << 4 | (l[96] & 3) << 6);
        }
}

/* Two levels of four bits in a byte, from halves of 64 weights; a fifth bit is left out. */
INLINE void pack_four_bits(const uint8_t *levels, uint8_t *packed)
{
    for (int part = 0; part < SUPER; part += 64)
        for (int i = 0; i < 32; i++) {
            const uint8_t *l = levels + part + i;
            packed[part / 2 + i] = (uint8_t)((l[0] & 15) | (l[32] & 15) << 4);
        }
}

/* One bit of every level: bit k of a byte belongs to the k-th 32 weights. */
INLINE void pack_one_bit(const uint8_t *levels, int bit, uint8_t *packed)
{
    for (int i = 0; i < 32; i++) {
        unsigned byte = 0;
        for (int k = 0; k < 8; k++)
            byte |= (levels[32 * k + i] >> bit & 1u) << k;
        packed[i] = (uint8_t)byte;
    }
}

/* Four low bits and two high ones of every level, from quarters of 128 weights. */
INLINE void pack_six_bits(const uint8_t *levels, uint8_t *low, uint8_t *high)
{
    for (int part = 0; part < SUPER; part += 128)
        for (int i = 0; i < 32; i++) {
            const uint8_t *l = levels + part + i;
            low[part / 2 + i] = (uint8_t)((l[0] & 15) | (l[64] & 15) << 4);
            low[part / 2 + 32 + i] = (uint8_t)((l[32] & 15) | (l[96] & 15) << 4);
            high[part / 4 + i] = (uint8_t)(l[0] >> 4 | l[32] >> 4 << 2 | l[64] >> 4 << 4 | l[96] >> 4 << 6);
        }
}

/* Eight scales and eight minimums of six bits each in twelve bytes. */
INLINE void pack_scales_and_mins(const uint8_t *scales, const uint8_t *mins, uint8_t *packed)
{
    for (int j = 0; j < 4; j++) {
        packed[j] = (uint8_t)(scales[j] | scales[j + 4] >> 4 << 6);
        packed[j + 4] = (uint8_t)(mins[j] | mins[j + 4] >> 4 << 6);
        packed[j + 8] = (uint8_t)((scales[j + 4] & 15) | (mins[j + 4] & 15) << 4);
    }
}

INLINE void unpack_scales_and_mins(const uint8_t *packed, uint8_t *scales, uint8_t *mins)
{
    for (int j = 0; j < 4; j++) {
        scales[j] = packed[j] & 63;
        mins[j] = packed[j + 4] & 63;
        scales[j + 4] = (uint8_t)((packed[j + 8] & 15) | packed[j] >> 6 << 4);
        mins[j + 4] = (uint8_t)(packed[j + 8] >> 4 | packed[j + 4] >> 6 << 4);
    }
}

/* Sixteen scales of six bits, from 0 to 63, in twelve bytes. */
INLINE void pack_scales(const uint8_t *scales, uint8_t *packed)
{
    for (int j = 0; j < 4; j++)
        packed[j + 8] = 0;
    for (int j = 0; j < 8; j++)
        packed[j] = (uint8_t)((scales[j] & 15) | (scales[j + 8] & 15) << 4);
    for (int j = 0; j < 16; j++)
        packed[8 + j % 4] = (uint8_t)(packed[8 + j % 4] | scales[j] >> 4 << 2 * (j / 4));
}

#endif
