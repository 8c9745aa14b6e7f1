/* Q8_0, and the way through all rows. */

/* The bits of the largest size among the weights: they order as the sizes do, infinity and NaN last. */
INLINE uint32_t largest_bits(const float *x, int n)
{
    int32_t most = 0;
    for (int i = 0; i < n; i++) {
        const int32_t size = (int32_t)(bits_of(x[i]) & 0x7fffffff);
        most = size > most ? size : most;
    }
    return (uint32_t)most;
}

enum { INFINITE = 0x7f800000 };

static int are_finite(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32)
        if (largest_bits(x + i, 32) >= INFINITE)
            return 0;
    return 1;
}

typedef void kernel(const float *x, void *y);
typedef void weighted_kernel(const float *x, void *y, int blocks, const float *importance);

/* Return 0, and write nothing, for a block whose conversion to integers C does not define: with infinity, NaN,
 * or numbers so small that the reciprocal of the scale is infinite. */
static int encode_q8_0(const float *x, void *to)
{
    const float d = float_of(largest_bits(x, 32)) / 127, id = d != 0 ? 1.0f / d : 0;
    block_q8_0 *y = to;
    if (bits_of(d) >= INFINITE || bits_of(id) >= INFINITE)
        return 0;
    put_half(y->d, d);
    for (int i = 0; i < 32; i++) { /* roundf: ties away from zero */
        const float scaled = x[i] * id;
        const int whole = (int)scaled;
        const float rest = scaled - (float)whole;
        y->levels[i] = (int8_t)(whole + (rest >= 0.5f) - (rest <= -0.5f));
    }
    return 1;
}

static int encode_all_q8_0(const float *x, uint8_t *y, int64_t count, ggml_encoder ggml)
{
    for (int64_t i = 0; i < count; i += 32, y += sizeof(block_q8_0))
        if (!encode_q8_0(x + i, y))
            ggml(x + i, y, 1, 32, NULL);
    return 1;
}

/* Encode super-blocks with an importance for each of `columns`; those that are not a whole group, or among
 * whose weights are infinity or NaN, go to ggml. */
static int encode_all_weighted(weighted_kernel *encode, int group, size_t bytes, const float *x, uint8_t *y,
                               int64_t count, int64_t columns, const float *importance, ggml_encoder ggml)
{
    ALIGNED float own[LANES * SUPER];
    int64_t column = 0;
    if (!are_finite(importance, columns))
        return 0;
    for (int64_t left = count / SUPER; left > 0;) {
        const int blocks = left < group ? (int)left : (int)(left < LANES ? left - left % group : LANES);
        for (int b = 0; b < blocks; b++, column = (column + SUPER) % columns)
            memcpy(own + b * SUPER, importance + column, SUPER * sizeof *own);
        if (blocks % group == 0 && are_finite(x, blocks * SUPER))
            encode(x, y, blocks, own);
        else
            for (int b = 0; b < blocks; b++)
                ggml(x + b * SUPER, y + (size_t)b * bytes, 1, SUPER, own + b * SUPER);
        x += blocks * SUPER;
        y += (size_t)blocks * bytes;
        left -= blocks;
    }
    return 1;
}

static int encode_all(kernel *encode, int group, size_t bytes, const float *x, uint8_t *y, int64_t count,
                      ggml_encoder ggml)
{
    const int weights = group * SUPER;
    for (; count >= weights; count -= weights, x += weights, y += (size_t)group * bytes) {
        if (are_finite(x, weights))
            encode(x, y);
        else
            ggml(x, y, 1, weights, NULL);
    }
    if (count > 0)
        ggml(x, y, 1, count, NULL);
    return 1;
}

int ENCODE(int type, const float *x, uint8_t *y, int64_t count, int64_t columns, const float *importance,
           ggml_encoder ggml)
{
    static const struct {
        int type;
        size_t bytes;
        kernel *encode;
        int group; /* super-blocks that they take at a time, or a multiple of that */
        weighted_kernel *weighted;
        int weighted_group;
    } kernels[] = {
        {Q2_K, sizeof(block_q2_k), encode_q2_k, GROUP_OF_16, encode_weighted_q2_k, GROUP_OF_16},
        {Q3_K, sizeof(block_q3_k), encode_q3_k, POOLED_BLOCKS, encode_weighted_q3_k, GROUP_OF_16},
        {Q4_K, sizeof(block_q4_k), encode_q4_k, GROUP_OF_32, encode_weighted_q4_k, GROUP_OF_32},
        {Q5_K, sizeof(block_q5_k), encode_q5_k, GROUP_OF_32, encode_weighted_q5_k, GROUP_OF_32},
        {Q6_K, sizeof(block_q6_k), encode_q6_k, GROUP_OF_16, encode_weighted_q6_k, GROUP_OF_16},
    };
    if (type == Q8_0) /* which takes no importances */
        return encode_all_q8_0(x, y, count, ggml);
    for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++)
        if (kernels[k].type == type)
            return importance == NULL
                       ? encode_all(kernels[k].encode, kernels[k].group, kernels[k].bytes, x, y, count, ggml)
                       : encode_all_weighted(kernels[k].weighted, kernels[k].weighted_group, kernels[k].bytes, x,
                                             y, count, columns, importance, ggml);
    return 0;
}
