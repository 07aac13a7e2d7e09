"""exp and its relatives without a branch or a call, so that LLVM turns a loop over them into vectors.

In the type of x: numbers that float32 holds exactly are float32 here, which float64 takes in without loss; for
others, and for polynomials, `constant` and `polynomial` give each type its own. The coefficients and the bounds
of the errors are those of the native backend (csrc/include/dl_math.h): float32 <= 3e-7, float64 <= 1e-15, relative.
Exact limits at ±inf, NaN in gives NaN out.
"""

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from dlkit.backends.numba._compile import jit

ZERO, HALF, ONE, TWO, THREE = (np.float32(value) for value in (0, 0.5, 1, 2, 3))


def _is_single(x):
    return x == types.float32


def polynomial(single, double):
    """A function of x for use inside kernels: Horner's rule; highest power first."""

    @intrinsic
    def evaluate(typing, x):
        def generate(context, builder, signature, values):
            real = context.get_data_type(x)
            name = f"llvm.fmuladd.{'f32' if _is_single(x) else 'f64'}"
            multiply_add = cgutils.get_or_insert_function(builder.module, ir.FunctionType(real, [real] * 3), name)
            first, *others = (context.get_constant(x, value) for value in (single if _is_single(x) else double))
            total = first
            for coefficient in others:
                total = builder.call(multiply_add, [total, values[0], coefficient])
            return total

        return x(x), generate

    return evaluate


def constant(single, double):
    """A function of x for use inside kernels: the constant of x's type."""
    return polynomial([single], [double])


@intrinsic
def whole_power_of_two(typing, n):
    """2^n for a whole n from 1 - bias to bias, put together from its bits"""
    integer, shift, magic = (
        (ir.IntType(32), 23, 1.5 * 2**23 + 127) if _is_single(n) else (ir.IntType(64), 52, 1.5 * 2**52 + 1023)
    )

    def generate(context, builder, signature, values):
        low_bits = builder.bitcast(builder.fadd(values[0], context.get_constant(n, magic)), integer)
        return builder.bitcast(builder.shl(low_bits, ir.Constant(integer, shift)), context.get_data_type(n))

    return n(n), generate


@intrinsic
def high_part(typing, x):
    """x with half its digits: its square is exact"""
    integer, mask = (ir.IntType(32), -(1 << 12)) if _is_single(x) else (ir.IntType(64), -(1 << 27))

    def generate(context, builder, signature, values):
        bits = builder.and_(builder.bitcast(values[0], integer), ir.Constant(integer, mask))
        return builder.bitcast(bits, context.get_data_type(x))

    return x(x), generate


@intrinsic
def larger(typing, a, b):
    """The maximum, NaN if either is: a sequence of these can be taken in lanes."""
    name = f"llvm.maximum.{'f32' if _is_single(a) else 'f64'}"

    def generate(context, builder, signature, values):
        real = context.get_data_type(a)
        return builder.call(
            cgutils.get_or_insert_function(builder.module, ir.FunctionType(real, [real] * 2), name), values
        )

    return (a(a, a), generate) if a == b else None


shifter = constant(1.5 * 2**23, 1.5 * 2**52)  # x + shifter(x) has no digits behind the point
log2_e = constant(1.4426950408889634, 1.4426950408889634)
ln2_high = constant(0.693359375, 6.93147180369123816490e-01)
ln2_low = constant(-2.12194440e-4, 1.90821492927058770002e-10)
root_half = constant(0.70710678118654752, 0.70710678118654752)
smallest_exponent, largest_exponent = constant(-110.0, -750.0), constant(100.0, 720.0)
expm1_over_square = polynomial(  # (e^r - 1 - r) / r² for |r| <= ln(2) / 2
    [0.0001989099082, 0.001393365, 0.008333310925, 0.04166646493, 0.1666666668, 0.5],
    [float.fromhex(c) for c in (
        "0x1.af38a9b0ec855p-26", "0x1.289185613a3d6p-22", "0x1.71de0dae63bb3p-19", "0x1.a019b90d2ae7ap-16",
        "0x1.a01a01a7c41d5p-13", "0x1.6c16c1788bd90p-10", "0x1.11111111109b3p-7", "0x1.5555555553d63p-5",
        "0x1.5555555555556p-3", "0x1p-1",
    )],
)  # fmt: skip
atanh_tail = polynomial(  # (2 atanh(s) - 2s) / s³ in s²
    [0.2322432922, 0.217065758, 0.2859235799, 0.3999970633, 0.6666666732],
    [float.fromhex(c) for c in (
        "0x1.401d3e65cdc48p-3", "0x1.32e0d25c9c761p-4", "0x1.bc37f0140c19ep-4", "0x1.e0a2d581ab68fp-4",
        "0x1.111abdc8abe16p-3", "0x1.3b13515f6f9efp-3", "0x1.745d19937b1fcp-3", "0x1.c71c71bedea97p-3",
        "0x1.2492492499d46p-2", "0x1.9999999999944p-2", "0x1.5555555555555p-1",
    )],
)  # fmt: skip
scaled_erfc = polynomial(  # (1 + 2u) e^(u²) erfc(u) in (u - 3) / (u + 3); Shepherd & Laframboise 1981
    [
        -0.0002690068022, -0.000775897423, 0.002009782327, 0.00257290446, -0.02380005901, 0.06829274811,
        -0.119270944, 0.1296468575, -0.04756237295, -0.1356211556, 1.253008059,
    ],
    [float.fromhex(c) for c in (
        "0x1.89ed021877a33p-26", "0x1.113c56e23f047p-24", "-0x1.0ab25e4ccdbd1p-23", "-0x1.2f5240c953cf1p-21",
        "0x1.78bfd57621f41p-22", "0x1.ccb247f6656bdp-19", "-0x1.8993d595f4678p-21", "-0x1.50e97e2b97ec3p-16",
        "0x1.4c4c7380dfc0fp-18", "0x1.0657237583ac4p-13", "-0x1.b91355a6025bfp-14", "-0x1.98db2c6fd1aaap-11",
        "0x1.ef1bdfcb50211p-10", "0x1.4b884d44974e6p-9", "-0x1.8574c40f5ddffp-6", "0x1.17ca287865554p-4",
        "-0x1.e88b803a40f06p-4", "0x1.098366a5b3120p-3", "-0x1.85a15c58aa7b6p-5", "-0x1.15c084bb9e8d8p-3",
        "0x1.40c522d7e4987p+0",
    )],
)  # fmt: skip
widest = constant(15.0, 40.0)  # the normal density is 0 there
root_tau_inverse = constant(0.3989422804014327, 0.3989422804014327)


@jit
def limit(x, low, high):
    x = low if x < low else x
    return high if x > high else x


@jit
def whole(x):
    return (x + shifter(x)) - shifter(x)


@jit
def expm1_small(r):
    return expm1_over_square(r) * (r * r) + r


@jit
def exp_sum(x, low):
    """e^(x + low), low much smaller than 1; 2^n in two factors, as it may be too small or large for one"""
    x = limit(x, smallest_exponent(x), largest_exponent(x))
    n = whole(x * log2_e(x))
    r = (x - n * ln2_high(x)) - n * ln2_low(x) + low
    half = whole(n * HALF)
    return ((expm1_small(r) + ONE) * whole_power_of_two(half)) * whole_power_of_two(n - half)


@jit
def exp(x):
    return exp_sum(x, ZERO)


@jit
def expm1(x):
    x = limit(x, np.float32(-50), largest_exponent(x))
    n = whole(x * log2_e(x))
    r = (x - n * ln2_high(x)) - n * ln2_low(x)
    half = whole(n * HALF)
    a, b = whole_power_of_two(half), whole_power_of_two(n - half)
    return expm1_small(r) * a * b + (a * b - ONE)


@jit
def tanh(x):
    e = expm1(limit(x, np.float32(-25), np.float32(25)) * TWO)
    return e / (e + TWO)


@jit
def sigmoid(x):
    return ONE / (ONE + exp(-x))


@jit
def log1p_unit(u):
    """log(1 + u) for 0 <= u <= 1"""
    s = u / (TWO + u)
    w = s * s
    return s * w * atanh_tail(w) + TWO * s


@jit
def softplus(x):
    return (ZERO if x < ZERO else x) + log1p_unit(exp(-abs(x)))


@jit
def gauss(x):
    """e^(-x²/2), |x| <= widest, without the error that rounding x² would bring"""
    high = high_part(x)
    return exp_sum(-HALF * high * high, -HALF * (x - high) * (x + high))


@jit
def normal_distribution(x, gauss):
    """Φ(x) from gauss(x), |x| <= widest, with a small relative error in its left tail too"""
    u = abs(x) * root_half(x)
    tail = HALF * gauss * (scaled_erfc((u - THREE) / (u + THREE)) / (ONE + TWO * u))
    return ONE - tail if x > ZERO else tail
