/* Q3_K and Q6_K: a sub-block has a scale alone, and levels around zero. */

/* Of sixteen weights that lie `stride` apart, the one that is largest in size, the first of them, with its sign;
 * 0 for a sub-block that counts as zero. */
INLINE floats v_largest(const float *x, int stride)
{
    floats size = v_all(0), most = v_all(0);
    for (int i = 0; i < 16; i++) {
        const floats one = v_load(x + i * stride);
        const mask larger = v_less(size, v_abs(one));
        size = v_pick(larger, v_abs(one), size);
        most = v_pick(larger, one, most);
    }
    return v_pick(v_less(size, v_all(TINY)), v_all(0), most);
}

/* ggml's make_qx_quants, for levels from -half to half - 1; `w` are the weights of the errors. Among scales,
 * other than among weights, there may be infinity. */
INLINE void find_scale(int half, int are_scales, float (*x)[LANES], float (*w)[LANES], fit *found)
{
    ALIGNED float wx[16][LANES];
    floats most[VECTORS], scale[VECTORS], best[VECTORS], iscale[VECTORS], won[VECTORS];
    for (int i = 0; i < 16; i++)
        EACH PUT(wx, i, AT(w, i) * AT(x, i));
    EACH {
        most[v] = v_largest(&x[0][v * WIDTH], LANES);
        won[v] = v_all(0);
        scale[v] = best[v] = v_all(0);
    }
    for (int trial = -10; trial <= 9; trial++) {
        if (trial == 0)
            continue;
        const int first = trial == -10; /* the levels as they are, kept whatever their error */
        const float stretched = first ? -(float)half : -((float)half + 0.1f * (float)trial);
        floats sum_lx[VECTORS], sum_l2[VECTORS];
        EACH {
            iscale[v] = v_all(stretched) / most[v];
            sum_lx[v] = sum_l2[v] = v_all(0);
        }
        for (int i = 0; i < 16; i++)
            EACH {
                const floats raw = iscale[v] * AT(x, i);
                const floats l = v_clamp(are_scales ? v_nearest(raw) : v_nearest_within(raw), (float)-half,
                                         (float)(half - 1));
                sum_lx[v] += AT(wx, i) * l;
                sum_l2[v] += AT(w, i) * l * l;
            }
        EACH {
            const floats fitted = sum_lx[v] / sum_l2[v];
            mask better;
            if (first) { /* 0 only where no sum is left to divide by; NaN stays */
                scale[v] = v_pick(v_equal(sum_l2[v], v_all(0)), v_all(0), fitted);
                better = v_equal(v_all(0), v_all(0));
            } else {
                better = v_both(v_less(v_all(0), sum_l2[v]),
                                v_less(best[v] * sum_l2[v], sum_lx[v] * sum_lx[v]));
                scale[v] = v_pick(better, fitted, scale[v]);
            }
            best[v] = v_pick(better, scale[v] * sum_lx[v], best[v]);
            won[v] = v_pick(better, iscale[v], won[v]);
        }
    }
    EACH {
        const mask zero = v_equal(most[v], v_all(0));
        PUT(found->scale, 0, v_pick(zero, v_all(0), scale[v]));
        PUT(found->iscale, 0, won[v]);
        PUT(found->zero, 0, v_pick(zero, v_all(1), v_all(0)));
    }
}

/* The levels of that search, from 0 to 2 * half - 1; 0 also where all counts as zero. */
INLINE uint8_t level_found(int half, float x, const fit *found, int lane)
{
    if (found->zero[0][lane] != 0)
        return 0;
    return (uint8_t)(clamp(nearest_int(found->iscale[0][lane] * x), -half, half - 1) + half);
}

/* Each step of the next search waits for the one before, so twice as many lanes go through it at a time. Five
 * sweeps are allowed, but four of five sub-blocks are done after one: those that are not are brought together
 * out of a pool, so that they do not take the others through all of theirs. */
enum { MANY = 2 * LANES, POOL = 128, SWEEPS = 5, POOLED_BLOCKS = POOL / 16 };

typedef struct {
    ALIGNED float x[16][POOL], levels[16][POOL];
    ALIGNED float sum_lx[1][POOL], sum_l2[1][POOL]; /* of those levels */
    ALIGNED float changed[1][POOL];                 /* 0 where the last sweep left all levels as they were */
} pool;

#define EACH_OF_MANY for (int v = 0; v < 2 * VECTORS; v++)
#define FROM(array, i) v_load(&(array)[i][from + v * WIDTH])
#define BACK(array, i, value) v_store(&(array)[i][from + v * WIDTH], value)

/* The levels of MANY sub-blocks, from -4 to 3, with the scale that the largest weight gives. */
INLINE void begin_levels(pool *p, int from)
{
    EACH_OF_MANY {
        const floats most = v_largest(&p->x[0][from + v * WIDTH], POOL);
        floats sum_lx = v_all(0), sum_l2 = v_all(0);
        for (int i = 0; i < 16; i++) {
            const floats x = FROM(p->x, i), w = x * x;
            const floats l = v_clamp(v_nearest(v_all(-4) / most * x), -4, 3);
            BACK(p->levels, i, l);
            sum_lx += w * x * l;
            sum_l2 += w * l * l;
        }
        BACK(p->sum_lx, 0, sum_lx);
        BACK(p->sum_l2, 0, sum_l2);
    }
}

/* Change the levels of the sub-blocks in so many vectors, one level after the other, where that lessens the
 * error. */
INLINE void sweep(pool *p, int from, int vectors)
{
    floats sum_lx[2 * VECTORS], sum_l2[2 * VECTORS];
    mask changed[2 * VECTORS];
    for (int v = 0; v < vectors; v++) {
        sum_lx[v] = FROM(p->sum_lx, 0);
        sum_l2[v] = FROM(p->sum_l2, 0);
        changed[v] = v_less(v_all(0), v_all(0));
    }
    for (int i = 0; i < 16; i++)
        for (int v = 0; v < vectors; v++) {
            const floats x = FROM(p->x, i), l = FROM(p->levels, i), w = x * x, wx = w * x;
            floats lx = sum_lx[v] - wx * l, l2 = sum_l2[v] - w * l * l;
            const floats other = v_clamp(v_nearest(x * l2 / lx), -4, 3);
            mask better = v_but(v_less(v_all(0), lx), v_equal(other, l));
            lx += wx * other;
            l2 += w * other * other;
            better = v_both(better, v_less(v_all(0), l2));
            better = v_both(better, v_less(sum_lx[v] * sum_lx[v] * l2, lx * lx * sum_l2[v]));
            changed[v] = v_either(changed[v], better);
            BACK(p->levels, i, v_pick(better, other, l));
            sum_lx[v] = v_pick(better, lx, sum_lx[v]);
            sum_l2[v] = v_pick(better, l2, sum_l2[v]);
        }
    for (int v = 0; v < vectors; v++) {
        BACK(p->sum_lx, 0, sum_lx[v]);
        BACK(p->sum_l2, 0, sum_l2[v]);
        BACK(p->changed, 0, v_pick(changed[v], v_all(1), v_all(0)));
    }
}

/* Copy sub-block `one` of `a` to place `other` of `b`, what does not change only with `all`. */
INLINE void copy_sub_block(const pool *a, int one, pool *b, int other, int all)
{
    for (int i = 0; i < 16; i++) {
        b->levels[i][other] = a->levels[i][one];
        if (all)
            b->x[i][other] = a->x[i][one];
    }
    b->sum_lx[0][other] = a->sum_lx[0][one];
    b->sum_l2[0][other] = a->sum_l2[0][one];
}

/* ggml's make_q3_quants. The levels stay, from 0 to 7, since they are made from no single scale. */
INLINE void find_scales_and_levels(pool *p, float *scale)
{
    pool few;
    int left[POOL], count = 0;
    for (int from = 0; from < POOL; from += MANY) {
        begin_levels(p, from);
        sweep(p, from, 2 * VECTORS);
    }
    for (int k = 0; k < POOL; k++)
        if (p->changed[0][k] != 0)
            left[count++] = k;
    for (int sweeps = 1; sweeps < SWEEPS && count > 0; sweeps++) {
        const int width = count <= WIDTH ? WIDTH : MANY, end = (count + width - 1) / width * width;
        for (int k = 0; k < end; k++) /* what is too many is there twice */
            copy_sub_block(p, left[k < count ? k : 0], &few, k, 1);
        if (width == WIDTH)
            sweep(&few, 0, 1);
        else
            for (int from = 0; from < end; from += MANY)
                sweep(&few, from, 2 * VECTORS);
        const int swept = count;
        count = 0;
        for (int k = 0; k < swept; k++) {
            copy_sub_block(&few, k, p, left[k], 0);
            if (few.changed[0][k] != 0)
                left[count++] = left[k];
        }
    }
    for (int from = 0; from < POOL; from += MANY)
        EACH_OF_MANY {
            const mask zero = v_equal(v_largest(&p->x[0][from + v * WIDTH], POOL), v_all(0));
            const floats sum_l2 = FROM(p->sum_l2, 0);
            const mask sound = v_but(v_less(v_all(0), sum_l2), zero);
            v_store(scale + from + v * WIDTH, v_pick(sound, FROM(p->sum_lx, 0) / sum_l2, v_all(0)));
            for (int i = 0; i < 16; i++)
                BACK(p->levels, i, v_pick(zero, v_all(0), FROM(p->levels, i) + v_all(4)));
        }
}

/* The scale that is largest in size, the first of them. */
INLINE float largest_in_size(const float *scale)
{
    float size = 0, most = 0;
    for (int j = 0; j < 16; j++)
        if (float_of(bits_of(scale[j]) & 0x7fffffff) > size) {
            size = float_of(bits_of(scale[j]) & 0x7fffffff);
            most = scale[j];
        }
    return most;
}

/* The levels of a sub-block of Q3_K with its rounded scale; 0 where no scale is left, and those of the search
 * have to stay. */
INLINE int levels_of_q3_k(const float *x, float d, uint8_t *levels)
{
    if (d == 0)
        return 0;
    levels_around_zero(x, 16, d, 4, levels);
    return 1;
}

static void encode_q3_k(const float *x, void *to)
{
    ALIGNED float found[POOL];
    pool searched;
    uint8_t levels[SUPER], scales[16];
    block_q3_k *y = to;
    for (int from = 0; from < POOL; from += LANES)
        turn(x + from * 16, 16, &searched.x[0][from], POOL);
    find_scales_and_levels(&searched, found);
    for (int b = 0; b < POOLED_BLOCKS; b++, x += SUPER, y++) {
        const float *scale = &found[16 * b], most = largest_in_size(scale);
        const float iscale = -32.0f / most;
        memset(scales, 0, sizeof scales);
        for (int j = 0; j < 16 && most != 0; j++)
            scales[j] = (uint8_t)(clamp((int8_t)nearest_int(iscale * scale[j]), -32, 31) + 32);
        pack_scales(scales, y->scales);
        const float d = put_half(y->d, most != 0 ? 1 / iscale : 0);
        for (int j = 0; j < 16; j++)
            if (!levels_of_q3_k(x + 16 * j, d * (scales[j] - 32), levels + 16 * j))
                for (int i = 0; i < 16; i++)
                    levels[16 * j + i] = (uint8_t)searched.levels[i][16 * b + j];
        pack_one_bit(levels, 2, y->high);
        pack_two_bits(levels, y->levels);
    }
}

/* One group of Q6_K; the weights of the errors are squares or what an importance matrix says. */
INLINE void encode_q6_k_group(const float *x, float (*rows)[LANES], float (*weights)[LANES], block_q6_k *y)
{
    uint8_t levels[SUPER];
    fit found;
    find_scale(32, 0, rows, weights, &found);
    for (int b = 0; b < GROUP_OF_16; b++, x += SUPER, y++) {
        const float *scale = &found.scale[0][16 * b], most = largest_in_size(scale);
        if (float_of(bits_of(most) & 0x7fffffff) < TINY) {
            memset(y, 0, sizeof *y);
            continue;
        }
        const float iscale = -128.0f / most, dall = put_half(y->d, 1 / iscale);
        for (int j = 0; j < 16; j++) {
            const int whole = nearest_int(iscale * scale[j]), sub = 16 * j;
            y->scales[j] = (int8_t)(whole < 127 ? whole : 127);
            const float d = dall * y->scales[j];
            if (d != 0)
                levels_around_zero(x + sub, 16, d, 32, levels + sub);
            else
                for (int i = 0; i < 16; i++)
                    levels[sub + i] = level_found(32, x[sub + i], &found, 16 * b + j);
        }
        pack_six_bits(levels, y->low, y->high);
    }
}

static void encode_q6_k(const float *x, void *to)
{
    ALIGNED float rows[16][LANES], squares[16][LANES];
    turn(x, 16, *rows, LANES);
    for (int i = 0; i < 16; i++)
        EACH PUT(squares, i, AT(rows, i) * AT(rows, i));
    encode_q6_k_group(x, rows, squares, to);
}
