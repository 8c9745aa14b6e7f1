/* The k-quants with an importance matrix: errors weigh more in the columns that matter more, and the scales of
 * a super-block are fitted together instead of each being rounded.
 *
 * A batch is up to LANES super-blocks: in the search a lane is a sub-block, in the fit of the scales it is a
 * super-block. `importance` lies beside the weights, a number for each. */

typedef struct {
    fit found[16]; /* of each group */
    ALIGNED float scale[16][LANES], min[16][LANES], weight[16][LANES]; /* of each sub-block, by super-block */
} batch;

/* A whole number within +-2^22 as a byte: ggml keeps these levels in bytes, where negative ones wrap around. */
INLINE floats v_byte(floats whole)
{
    return v_low_byte(whole + v_all(12582912.0f));
}

/* ggml's make_qp_quants: find levels from 0 to `top` for the scales `x` of super-blocks, and what to multiply
 * them with. */
INLINE void fit_scales(int n, int top, float (*x)[LANES], float (*w)[LANES], float (*levels)[LANES],
                       float (*factor)[LANES])
{
    floats most[VECTORS], iscale[VECTORS], best[VECTORS], sum_lx[VECTORS], sum_l2[VECTORS];
    EACH {
        most[v] = v_all(0);
        for (int i = 0; i < n; i++)
            most[v] = v_max(most[v], AT(x, i));
        iscale[v] = v_all((float)top) / most[v];
    }
    for (int trial = -5; trial <= 4; trial++) {
        if (trial == 0)
            continue;
        const int first = trial == -5; /* not stretched, and levels not limited but cut to bytes */
        EACH {
            const floats tried = v_all(first ? (float)top : 0.1f * (float)trial + (float)top) / most[v];
            const floats scale = v_all(1) / tried;
            floats error = v_all(0);
            for (int i = 0; i < n; i++) {
                const floats l = v_nearest(tried * AT(x, i));
                const floats off = AT(x, i) - scale * (first ? v_byte(l) : v_min(l, v_all((float)top)));
                error += AT(w, i) * off * off;
            }
            if (first) {
                best[v] = error;
            } else {
                const mask better = v_less(error, best[v]);
                best[v] = v_pick(better, error, best[v]);
                iscale[v] = v_pick(better, tried, iscale[v]);
            }
        }
    }
    EACH {
        sum_lx[v] = sum_l2[v] = v_all(0);
        for (int i = 0; i < n; i++) {
            const floats l = v_min(v_nearest(iscale[v] * AT(x, i)), v_all((float)top));
            PUT(levels, i, v_byte(l));
            sum_lx[v] += AT(w, i) * AT(x, i) * l;
            sum_l2[v] += AT(w, i) * l * l;
        }
    }
    for (int sweep = 0, changed = 1; sweep < 5 && changed; sweep++) {
        changed = 0;
        for (int i = 0; i < n; i++)
            EACH {
                const floats wx = AT(w, i) * AT(x, i), l = AT(levels, i);
                floats lx = sum_lx[v] - wx * l, l2 = sum_l2[v] - AT(w, i) * l * l;
                const floats other = v_min(v_nearest(AT(x, i) * l2 / lx), v_all((float)top));
                mask better = v_both(v_less(v_all(0), lx), v_less(v_all(0), l2));
                better = v_but(better, v_equal(other, l));
                lx += wx * other;
                l2 += AT(w, i) * other * other;
                better = v_both(better, v_less(sum_lx[v] * sum_lx[v] * l2, lx * lx * sum_l2[v]));
                changed |= v_any(better);
                PUT(levels, i, v_pick(better, v_byte(other), l));
                sum_lx[v] = v_pick(better, lx, sum_lx[v]);
                sum_l2[v] = v_pick(better, l2, sum_l2[v]);
            }
    }
    EACH {
        const mask zero = v_less(most[v], v_all(TINY));
        const mask sound = v_but(v_less(v_all(0), sum_l2[v]), zero);
        PUT(factor, 0, v_pick(sound, sum_lx[v] / sum_l2[v], v_all(0)));
        for (int i = 0; i < n; i++)
            PUT(levels, i, v_pick(zero, v_all(0), AT(levels, i)));
    }
}

/* `factor` times the mean square of each super-block. Four sums at a time, each in its own order. */
INLINE void mean_squares(const float *x, int blocks, float factor, float *means)
{
    for (int b = 0; b < blocks; b += 4) {
        float sums[4] = {0, 0, 0, 0};
        const float *from[4];
        for (int k = 0; k < 4; k++)
            from[k] = x + SUPER * (b + k < blocks ? b + k : b);
        for (int i = 0; i < SUPER; i++)
            for (int k = 0; k < 4; k++)
                sums[k] += from[k][i] * from[k][i];
        for (int k = 0; k < 4 && b + k < blocks; k++)
            means[b + k] = factor * sums[k] / SUPER;
    }
}

/* Turn the importances of a group into the weights of its errors, and sum them up by sub-block. */
INLINE void weigh(int n, const float *importance, const float *means, float (*x)[LANES],
                  float (*weights)[LANES], float (*sum)[LANES])
{
    ALIGNED float mean[1][LANES];
    turn(importance, n, *weights, LANES);
    for (int lane = 0; lane < LANES; lane++)
        mean[0][lane] = means[lane * n / SUPER];
    EACH PUT(sum, 0, v_all(0));
    for (int i = 0; i < n; i++)
        EACH {
            const floats w = AT(weights, i) * v_sqrt(AT(mean, 0) + AT(x, i) * AT(x, i));
            PUT(weights, i, w);
            PUT(sum, 0, AT(sum, 0) + w);
        }
}

/* Search the sub-blocks of `n` weights of a batch: around zero, to levels from -half on, or as `s` says. */
INLINE void search_batch(int n, int half, const search s, float factor, const float *x, int blocks,
                         const float *importance, batch *b)
{
    ALIGNED float rows[32][LANES], weights[32][LANES], sum[1][LANES];
    float means[LANES];
    const int subs = SUPER / n, group = LANES / subs;
    memset(b, 0, sizeof *b);
    mean_squares(x, blocks, factor, means);
    for (int first = 0; first < blocks; first += group) {
        fit *found = &b->found[first / group];
        turn(x + SUPER * first, n, *rows, LANES);
        weigh(n, importance + SUPER * first, means + first, rows, weights, sum);
        if (half)
            find_scale(half, 0, rows, weights, found);
        else
            find_scale_and_min(s, rows, weights, found);
        for (int lane = 0; lane < LANES; lane++) {
            const int sub = lane % subs, block = first + lane / subs;
            b->scale[sub][block] = found->scale[0][lane];
            b->min[sub][block] = found->min[0][lane];
            b->weight[sub][block] = sum[0][lane];
        }
    }
}

/* The part that Q4_K and Q5_K share, for super-block `b` of a batch; see `scale_by_six_bits`. */
INLINE void finish_six_bits(const search s, const float *x, const batch *all, int b, float (*scale)[LANES],
                            float (*min)[LANES], float d, float dm, int most, uint8_t to_d[2],
                            uint8_t to_dmin[2], uint8_t *packed, uint8_t *levels)
{
    const fit *found = &all->found[b / GROUP_OF_32];
    uint8_t scales[8], mins[8];
    for (int j = 0; j < 8; j++) {
        scales[j] = (uint8_t)clamp((int)scale[j][b], 0, most);
        mins[j] = (uint8_t)clamp((int)min[j][b], 0, most);
    }
    pack_scales_and_mins(scales, mins, packed);
    unpack_scales_and_mins(packed, scales, mins);
    const float dall = put_half(to_d, d), mall = put_half(to_dmin, dm);
    for (int j = 0; j < 8; j++)
        final_levels(s, x + 32 * j, dall * scales[j], mall * mins[j], found, b % GROUP_OF_32 * 8 + j,
                     levels + 32 * j);
}

static void encode_weighted_q4_k(const float *x, void *to, int blocks, const float *importance)
{
    static const search s = {.n = 32, .top = 15, .steps = 36, .absolute = 0, .first = -0.9f, .step = 0.05f};
    ALIGNED float scale[8][LANES], min[8][LANES], d[1][LANES], dm[1][LANES];
    uint8_t levels[SUPER];
    block_q4_k *y = to;
    batch found;
    search_batch(32, 0, s, 2, x, blocks, importance, &found);
    fit_scales(8, 63, found.scale, found.weight, scale, d);
    fit_scales(8, 63, found.min, found.weight, min, dm);
    for (int b = 0; b < blocks; b++, x += SUPER, y++) {
        finish_six_bits(s, x, &found, b, scale, min, d[0][b], dm[0][b], 255, y->d, y->dmin, y->scales, levels);
        pack_four_bits(levels, y->levels);
    }
}

static void encode_weighted_q5_k(const float *x, void *to, int blocks, const float *importance)
{
    static const search s = {.n = 32, .top = 31, .steps = 36, .absolute = 0, .first = -0.9f, .step = 0.05f};
    ALIGNED float scale[8][LANES], min[8][LANES], d[1][LANES], dm[1][LANES];
    uint8_t levels[SUPER];
    block_q5_k *y = to;
    batch found;
    search_batch(32, 0, s, 2, x, blocks, importance, &found);
    fit_scales(8, 63, found.scale, found.weight, scale, d);
    fit_scales(8, 63, found.min, found.weight, min, dm);
    for (int b = 0; b < blocks; b++, x += SUPER, y++) {
        finish_six_bits(s, x, &found, b, scale, min, d[0][b], dm[0][b], 63, y->d, y->dmin, y->scales, levels);
        pack_one_bit(levels, 4, y->high);
        pack_four_bits(levels, y->levels);
    }
}

static void encode_weighted_q2_k(const float *x, void *to, int blocks, const float *importance)
{
    static const search s = {.n = 16, .top = 3, .steps = 36, .absolute = 0, .first = -0.9f, .step = 0.05f};
    ALIGNED float scale[16][LANES], min[16][LANES], d[1][LANES], dm[1][LANES];
    uint8_t levels[SUPER];
    block_q2_k *y = to;
    batch found;
    search_batch(16, 0, s, 1, x, blocks, importance, &found);
    fit_scales(16, 15, found.scale, found.weight, scale, d);
    fit_scales(16, 15, found.min, found.weight, min, dm);
    for (int b = 0; b < blocks; b++, x += SUPER, y++) {
        const float dall = put_half(y->d, d[0][b]), mall = put_half(y->dmin, dm[0][b]);
        for (int j = 0; j < 16; j++) {
            const int sub = b % GROUP_OF_16 * 16 + j;
            y->scales[j] = (uint8_t)((int)scale[j][b] | (int)min[j][b] << 4);
            final_levels(s, x + 16 * j, dall * (y->scales[j] & 15), mall * (y->scales[j] >> 4),
                         &found.found[b / GROUP_OF_16], sub, levels + 16 * j);
        }
        pack_two_bits(levels, y->levels);
    }
}

static void encode_weighted_q3_k(const float *x, void *to, int blocks, const float *importance)
{
    static const search none = {.n = 16};
    uint8_t levels[SUPER], scales[16];
    block_q3_k *y = to;
    batch found;
    fit fitted;
    search_batch(16, 4, none, 2, x, blocks, importance, &found);
    find_scale(32, 1, found.scale, found.weight, &fitted);
    for (int b = 0; b < blocks; b++, x += SUPER, y++) {
        for (int j = 0; j < 16; j++)
            scales[j] = level_found(32, found.scale[j][b], &fitted, b);
        pack_scales(scales, y->scales);
        const float d = put_half(y->d, fitted.scale[0][b]);
        for (int j = 0; j < 16; j++)
            if (!levels_of_q3_k(x + 16 * j, d * (scales[j] - 32), levels + 16 * j))
                for (int i = 16 * j; i < 16 * j + 16; i++)
                    levels[i] = level_found(4, x[i], &found.found[b / GROUP_OF_16], b % GROUP_OF_16 * 16 + j);
        pack_one_bit(levels, 2, y->high);
        pack_two_bits(levels, y->levels);
    }
}

static void encode_weighted_q6_k(const float *x, void *to, int blocks, const float *importance)
{
    ALIGNED float rows[16][LANES], weights[16][LANES];
    block_q6_k *y = to;
    for (int b = 0; b < blocks; b += GROUP_OF_16) {
        turn(x + SUPER * b, 16, *rows, LANES);
        turn(importance + SUPER * b, 16, *weights, LANES);
        encode_q6_k_group(x + SUPER * b, rows, weights, y + b);
    }
}
