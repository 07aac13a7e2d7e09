/* tanh and sigmoid without libm, for whole vectors: the tail goes through the same instructions as the rest.
 *
 * expm1(x) = 2^n (e^r - 1) + (2^n - 1), n = round(x / ln 2), |r| <= ln 2 / 2, e^r - 1 by its Taylor series;
 * tanh x = e / (e + 2) with e = expm1(2x), which keeps its relative accuracy near 0. NaN stays NaN.
 */
INLINE VEC ID(choose)(MASK m, VEC yes, VEC no) { return (VEC)((m & (MASK)yes) | (~m & (MASK)no)); }

/* 2^n and e^r - 1 for |x| <= EXP_LIMIT; other x are taken as the limit. */
INLINE VEC ID(exp_parts)(VEC x, VEC *power) {
    const VEC limit = ID(broadcast)(EXP_LIMIT);
    x = ID(choose)((MASK)(x > limit), limit, x);
    x = ID(choose)((MASK)(x < -limit), -limit, x);
    const VEC shift = ID(broadcast)(sizeof(REAL) == 4 ? (REAL)0x1.8p23 : (REAL)0x1.8p52);
    VEC shifted = x * ID(broadcast)((REAL)1.44269504088896340736) + shift; /* its low bits are n */
    VEC n = shifted - shift;
    VEC r = x - n * ID(broadcast)(sizeof(REAL) == 4 ? (REAL)0x1.62e4p-1 : (REAL)0x1.62e42feep-1);
    r -= n * ID(broadcast)(sizeof(REAL) == 4 ? (REAL)0x1.7f7d1cp-20 : (REAL)0x1.a39ef35793c76p-33);
    *power = (VEC)(((MASK)shifted - (MASK)(shift - ID(broadcast)(sizeof(REAL) == 4 ? 127 : 1023))) << MANTISSA);
    static const double inverse_factorial[] = {
        1., 1., 1. / 2, 1. / 6, 1. / 24, 1. / 120, 1. / 720, 1. / 5040, 1. / 40320, 1. / 362880, 1. / 3628800,
        1. / 39916800, 1. / 479001600, 1. / 6227020800};
    VEC sum = ID(broadcast)((REAL)inverse_factorial[EXP_TERMS]);
    UNROLL for (int i = EXP_TERMS - 1; i >= 2; i--) sum = sum * r + ID(broadcast)((REAL)inverse_factorial[i]);
    return sum * r * r + r;
}

INLINE VEC ID(tanh)(VEC x) {
    const VEC one = ID(broadcast)(1);
    VEC power, most = ID(broadcast)(sizeof(REAL) == 4 ? 10 : 20); /* tanh is 1 from here on */
    VEC u = ID(choose)((MASK)(x > most), most, x);
    u = ID(choose)((MASK)(u < -most), -most, u);
    VEC e = ID(exp_parts)(u + u, &power);
    e = e * power + (power - one);
    return e / (e + one + one);
}

INLINE VEC ID(sigmoid)(VEC x) {
    const VEC one = ID(broadcast)(1);
    VEC power, part = ID(exp_parts)((VEC)(ID(choose)((MASK)(x > (VEC){0}), -x, x)), &power); /* e^-|x| */
    VEC e = (part + one) * power; /* not part * power + power: that product may be denormal, and flushed */
    return ID(choose)((MASK)(x > (VEC){0}), one, e) / (one + e);
}

static void ID(activate)(REAL *y, ptrdiff_t n, int activation) {
    for (ptrdiff_t i = 0; i < n; i += VL) {
        int rest = n - i < VL ? (int)(n - i) : VL;
        VEC x = rest < VL ? ID(load_part)(y + i, rest) : ID(load)(y + i);
        if (activation == DL_TANH) x = ID(tanh)(x);
        if (activation == DL_SIGMOID) x = ID(sigmoid)(x);
        if (activation == DL_RELU) x = (VEC)((MASK)x & ~(MASK)(x <= (VEC){0}));
        if (rest < VL) ID(store_part)(y + i, x, rest);
        else ID(store)(y + i, x);
    }
}
#undef VL
#undef VEC
#undef VECU
#undef MASK
