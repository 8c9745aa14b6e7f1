/* Quantizes rows of weights exactly as ggml_quantize_chunk does, sixteen or more sub-blocks at a time.
 *
 * ggml looks for the best scale of a sub-block (16 or 32 weights) by trying many, one weight after another.
 * The sub-blocks do not depend on each other, so here each has a lane of the vector registers to itself and
 * goes through the very operations that ggml's C code spells out. The bytes are the same because
 *
 *   - every operation is one IEEE single precision operation, rounded to nearest: + - * / sqrt, compare;
 *   - they are done in the order of the C expressions: w*l*l is (w*l)*l, scale*l + min - x is
 *     ((scale*l) + min) - x, and a sum over a sub-block runs from its first weight to its last;
 *   - nothing is fused or reassociated: compile with -ffp-contract=off and never with -ffast-math;
 *   - branches of a lane became selections between both results, with ggml's strict < and >, so that NaN
 *     takes the same side;
 *   - what C leaves undefined or to the platform (infinities and NaN among the weights, conversions of them
 *     to integers) is not computed here but given to ggml's own routine.
 *
 * A ggml that was itself built with fused multiply-adds has other bytes; the caller finds that out first.
 */
#ifndef LOCALLLM_KERNELS_H
#define LOCALLLM_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* ggml's quantize_q4_K and its like. One call encodes `rows` rows; `importance` has a number for each column. */
typedef size_t (*ggml_encoder)(const float *x, void *y, int64_t rows, int64_t columns, const float *importance);

/* ggml_type */
enum { Q8_0 = 8, Q2_K = 10, Q3_K = 11, Q4_K = 12, Q5_K = 13, Q6_K = 14 };

/* Encode `count` weights, whole blocks of `type`, one after another; 0 for a type that is not known here.
 * `importance` is NULL, or has `columns` numbers and the weights are rows of so many. */
typedef int encoder(int type, const float *x, uint8_t *y, int64_t count, int64_t columns,
                    const float *importance, ggml_encoder ggml);

encoder encode_sse2, encode_avx2, encode_avx512;

#endif
