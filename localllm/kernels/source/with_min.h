/* Q2_K, Q4_K and Q5_K: a sub-block has a scale and a minimum. */

/* How a type's scales are looked for: `n` weights, levels from 0 to `top`, `steps` + 1 trials of which trial k
 * stretches the levels by `first + k * step`; errors are absolute or squared. */
typedef struct {
    int n, top, steps, absolute;
    float first, step;
} search;

INLINE floats v_error(floats scale, floats level, floats min, floats x, int absolute)
{
    const floats off = scale * level + min - x;
    if (absolute)
        return v_abs(off);
    return off * off;
}

/* Whether no level between those of `low` and `high` wraps around; levels rise with the weights. */
INLINE int stays_within(floats iscale, floats low, floats high, floats from)
{
    const floats limit = v_all(4194303.0f);
    const mask sound = v_both(v_less(v_abs(iscale * (low - from)), limit),
                              v_less(v_abs(iscale * (high - from)), limit)); /* false for NaN */
    return !v_any(v_but(v_equal(limit, limit), sound));
}

/* One pass over the weights with the levels of `iscale * (x - from)`, which are kept in `levels`. */
INLINE void fit_levels(const search s, int wraps, float (*x)[LANES], float (*weights)[LANES],
                       float (*levels)[LANES], const floats *iscale, const floats *from, floats *sum_l,
                       floats *sum_l2, floats *sum_xl)
{
    EACH sum_l[v] = sum_l2[v] = sum_xl[v] = v_all(0);
    for (int i = 0; i < s.n; i++)
        EACH {
            const floats raw = iscale[v] * (AT(x, i) - from[v]);
            const floats l = v_clamp(wraps ? v_nearest(raw) : v_nearest_within(raw), 0, (float)s.top);
            const floats wl = AT(weights, i) * l;
            PUT(levels, i, l);
            sum_l[v] += wl;
            sum_l2[v] += wl * l;
            sum_xl[v] += wl * AT(x, i);
        }
}

/* ggml's make_qkx2_quants. */
INLINE void find_scale_and_min(const search s, float (*x)[LANES], float (*weights)[LANES], fit *found)
{
    ALIGNED float levels[32][LANES];
    floats low[VECTORS], high[VECTORS], min[VECTORS], sum_w[VECTORS], sum_x[VECTORS];
    EACH {
        low[v] = high[v] = AT(x, 0);
        sum_w[v] = AT(weights, 0);
        sum_x[v] = sum_w[v] * AT(x, 0);
    }
    for (int i = 1; i < s.n; i++)
        EACH {
            low[v] = v_min(AT(x, i), low[v]);
            high[v] = v_max(AT(x, i), high[v]);
            sum_w[v] += AT(weights, i);
            sum_x[v] += AT(weights, i) * AT(x, i);
        }

    /* levels between the smallest weight, or 0 if that is positive, and the largest */
    floats scale[VECTORS], best[VECTORS], iscale[VECTORS], won[VECTORS], won_from[VECTORS], at_first[VECTORS];
    mask flat[VECTORS];
    EACH {
        min[v] = at_first[v] = won_from[v] = v_min(v_all(0), low[v]);
        flat[v] = v_equal(high[v], min[v]);
        won[v] = v_all((float)s.top) / (high[v] - min[v]);
        scale[v] = v_all(1) / won[v];
        best[v] = v_all(0);
    }
    for (int i = 0; i < s.n; i++)
        EACH {
            const floats l = v_clamp(v_nearest(won[v] * (AT(x, i) - min[v])), 0, (float)s.top);
            best[v] += AT(weights, i) * v_error(scale[v], l, min[v], AT(x, i), s.absolute);
        }

    /* A trial that wins moves the minimum, and the next one starts from there. */
    for (int step = 0; step <= s.steps; step++) {
        int within = 1;
        floats sum_l[VECTORS], sum_l2[VECTORS], sum_xl[VECTORS], error[VECTORS];
        floats new_scale[VECTORS], new_min[VECTORS];
        mask solvable[VECTORS];
        EACH {
            iscale[v] = v_all(s.first + s.step * (float)step + (float)s.top) / (high[v] - min[v]);
            within &= stays_within(iscale[v], low[v], high[v], min[v]);
        }
        if (within)
            fit_levels(s, 0, x, weights, levels, iscale, min, sum_l, sum_l2, sum_xl);
        else
            fit_levels(s, 1, x, weights, levels, iscale, min, sum_l, sum_l2, sum_xl);
        EACH {
            const floats det = sum_w[v] * sum_l2[v] - sum_l[v] * sum_l[v];
            const floats free_scale = (sum_w[v] * sum_xl[v] - sum_x[v] * sum_l[v]) / det;
            const floats free_min = (sum_l2[v] * sum_x[v] - sum_l[v] * sum_xl[v]) / det;
            const mask positive = v_less(v_all(0), free_min);
            solvable[v] = v_less(v_all(0), det);
            new_min[v] = v_pick(positive, v_all(0), free_min);
            new_scale[v] = v_pick(positive, sum_xl[v] / sum_l2[v], free_scale);
            error[v] = v_all(0);
        }
        for (int i = 0; i < s.n; i++)
            EACH error[v] += AT(weights, i) *
                             v_error(new_scale[v], AT(levels, i), new_min[v], AT(x, i), s.absolute);
        EACH {
            const mask better = v_both(solvable[v], v_less(error[v], best[v]));
            best[v] = v_pick(better, error[v], best[v]);
            scale[v] = v_pick(better, new_scale[v], scale[v]);
            won[v] = v_pick(better, iscale[v], won[v]);
            won_from[v] = v_pick(better, min[v], won_from[v]);
            min[v] = v_pick(better, new_min[v], min[v]);
        }
    }
    EACH {
        PUT(found->scale, 0, v_pick(flat[v], v_all(0), scale[v]));
        PUT(found->min, 0, v_negative(v_pick(flat[v], at_first[v], min[v])));
        PUT(found->iscale, 0, v_pick(flat[v], v_all(0), won[v]));
        PUT(found->from, 0, v_pick(flat[v], v_all(0), won_from[v]));
    }
}

/* The levels of a sub-block once its scale and minimum are rounded. Where no scale is left, those of the
 * search stay. */
INLINE void final_levels(const search s, const float *x, float d, float dm, const fit *found, int lane,
                         uint8_t *levels)
{
    if (d != 0) {
        levels_with_min(x, s.n, d, dm, s.top, levels);
        return;
    }
    const float iscale = found->iscale[0][lane], from = found->from[0][lane];
    for (int i = 0; i < s.n; i++)
        levels[i] = (uint8_t)clamp(nearest_int(iscale * (x[i] - from)), 0, s.top);
}

INLINE float largest(const float *values, int n)
{
    float most = 0;
    for (int j = 0; j < n; j++)
        if (values[j] > most)
            most = values[j];
    return most;
}

/* The weights of the errors of Q4_K and Q5_K: the root mean square of a sub-block and the weight itself. */
INLINE void weigh_by_mean(float (*x)[LANES], float (*weights)[LANES])
{
    floats sum[VECTORS];
    EACH sum[v] = v_all(0);
    for (int i = 0; i < 32; i++)
        EACH sum[v] += AT(x, i) * AT(x, i);
    EACH sum[v] = v_sqrt(sum[v] / v_all(32));
    for (int i = 0; i < 32; i++)
        EACH PUT(weights, i, sum[v] + v_abs(AT(x, i)));
}

/* The part that Q4_K and Q5_K share: scales and minimums of one super-block, and its levels. */
INLINE void scale_by_six_bits(const search s, const float *x, const fit *found, int lane, uint8_t d[2],
                              uint8_t dmin[2], uint8_t *packed, uint8_t *levels)
{
    const float *scale = &found->scale[0][lane], *min = &found->min[0][lane];
    const float max_scale = largest(scale, 8), max_min = largest(min, 8);
    const float to_scale = max_scale > 0 ? 63.0f / max_scale : 0, to_min = max_min > 0 ? 63.0f / max_min : 0;
    uint8_t scales[8], mins[8];
    for (int j = 0; j < 8; j++) {
        scales[j] = (uint8_t)nearest_int(to_scale * scale[j]); /* cut to a byte before the comparison */
        scales[j] = scales[j] < 63 ? scales[j] : 63;
        mins[j] = (uint8_t)nearest_int(to_min * min[j]);
        mins[j] = mins[j] < 63 ? mins[j] : 63;
    }
    pack_scales_and_mins(scales, mins, packed);
    const float dall = put_half(d, max_scale / 63.0f), mall = put_half(dmin, max_min / 63.0f);
    for (int j = 0; j < 8; j++)
        final_levels(s, x + 32 * j, dall * scales[j], mall * mins[j], found, lane + j, levels + 32 * j);
}

static void encode_q4_k(const float *x, void *to)
{
    static const search s = {.n = 32, .top = 15, .steps = 20, .absolute = 0, .first = -1.0f, .step = 0.1f};
    ALIGNED float rows[32][LANES], weights[32][LANES];
    uint8_t levels[SUPER];
    block_q4_k *y = to;
    fit found;
    turn(x, 32, *rows, LANES);
    weigh_by_mean(rows, weights);
    find_scale_and_min(s, rows, weights, &found);
    for (int b = 0; b < GROUP_OF_32; b++, x += SUPER, y++) {
        scale_by_six_bits(s, x, &found, 8 * b, y->d, y->dmin, y->scales, levels);
        pack_four_bits(levels, y->levels);
    }
}

static void encode_q5_k(const float *x, void *to)
{
    static const search s = {.n = 32, .top = 31, .steps = 15, .absolute = 0, .first = -0.5f, .step = 0.1f};
    ALIGNED float rows[32][LANES], weights[32][LANES];
    uint8_t levels[SUPER];
    block_q5_k *y = to;
    fit found;
    turn(x, 32, *rows, LANES);
    weigh_by_mean(rows, weights);
    find_scale_and_min(s, rows, weights, &found);
    for (int b = 0; b < GROUP_OF_32; b++, x += SUPER, y++) {
        scale_by_six_bits(s, x, &found, 8 * b, y->d, y->dmin, y->scales, levels);
        pack_one_bit(levels, 4, y->high);
        pack_four_bits(levels, y->levels);
    }
}

static void encode_q2_k(const float *x, void *to)
{
    static const search s = {.n = 16, .top = 3, .steps = 15, .absolute = 1, .first = -0.5f, .step = 0.1f};
    ALIGNED float rows[16][LANES], weights[16][LANES];
    uint8_t levels[SUPER];
    block_q2_k *y = to;
    fit found;
    turn(x, 16, *rows, LANES);
    for (int i = 0; i < 16; i++)
        EACH PUT(weights, i, v_abs(AT(rows, i)));
    find_scale_and_min(s, rows, weights, &found);
    for (int b = 0; b < GROUP_OF_16; b++, x += SUPER, y++) {
        const float *scale = &found.scale[0][16 * b], *min = &found.min[0][16 * b];
        const float max_scale = largest(scale, 16), max_min = largest(min, 16);
        memset(y->scales, 0, sizeof y->scales);
        for (int j = 0; j < 16 && max_scale > 0; j++)
            y->scales[j] = (uint8_t)nearest_int(15.0f / max_scale * scale[j]);
        for (int j = 0; j < 16 && max_min > 0; j++)
            y->scales[j] = (uint8_t)(y->scales[j] | nearest_int(15.0f / max_min * min[j]) * 16);
        const float d = put_half(y->d, max_scale > 0 ? max_scale / 15.0f : 0);
        const float dm = put_half(y->dmin, max_min > 0 ? max_min / 15.0f : 0);
        for (int j = 0; j < 16; j++)
            final_levels(s, x + 16 * j, d * (y->scales[j] & 15), dm * (y->scales[j] >> 4), &found, 16 * b + j,
                         levels + 16 * j);
        pack_two_bits(levels, y->levels);
    }
}
