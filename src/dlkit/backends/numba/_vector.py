"""Vectors of 32 bytes along the channels: what a transform of small tiles needs and loops do not express.

`combination(matrix)` is a function for use inside kernels. It multiplies a constant matrix with a column of
vectors; zeros cost nothing, ones no multiplication:

    to[to0 + i*to_step + lane] = Σ_j matrix[i][j] of[of0 + j*of_step + lane]      lane < LANES

`store_finished` writes one vector of a result, after bias and relu. Arrays are given with the position of the first
element in them, whatever their shape. All in float32.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 8

_float, _int = ir.FloatType(), ir.IntType(64)
_vector = ir.VectorType(_float, LANES)


def _constant(value):
    return ir.Constant(_vector, [float(value)] * LANES)


def _pointer(context, builder, array_type, array, offset):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset], source_etype=_float), _vector.as_pointer())


def _load(context, builder, array_type, array, offset):
    return builder.load(_pointer(context, builder, array_type, array, offset), align=4, typ=_vector)


def _store(context, builder, value, array_type, array, offset):
    builder.store(value, _pointer(context, builder, array_type, array, offset), align=4)


def _multiply_add(builder, a, b, c):
    function_type = ir.FunctionType(_vector, [_vector] * 3)
    name = f"llvm.fmuladd.v{LANES}f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), [a, b, c])


def _weighted_sum(builder, weights, vectors):
    """Starts from a term of weight 1, if there is one: it needs no multiplication."""
    terms = sorted(((w, v) for w, v in zip(weights, vectors) if w), key=lambda term: term[0] != 1)
    (weight, total), *others = terms
    if weight != 1:
        total = builder.fmul(_constant(weight), total)
    for weight, vector in others:
        if abs(weight) == 1:
            total = (builder.fadd if weight > 0 else builder.fsub)(total, vector)
        else:
            total = _multiply_add(builder, _constant(weight), vector, total)
    return total


def combination(matrix):
    rows = [[float(weight) for weight in row] for row in matrix]

    @intrinsic
    def combine(typing, to, to0, to_step, of, of0, of_step):
        i = types.int64

        def generate(context, builder, signature, values):
            to, to0, to_step, of, of0, of_step = values
            to_type, of_type = signature.args[0], signature.args[3]

            def offset(first, index, step):
                return builder.add(first, builder.mul(ir.Constant(_int, index), step))

            vectors = [_load(context, builder, of_type, of, offset(of0, j, of_step)) for j in range(len(rows[0]))]
            sums = [_weighted_sum(builder, row, vectors) for row in rows]
            for row, total in enumerate(sums):
                _store(context, builder, total, to_type, to, offset(to0, row, to_step))
            return context.get_dummy_value()

        return types.void(to, i, i, of, i, i), generate

    return combine


@intrinsic
def store_finished(typing, to, to0, of, of0, bias, bias0, relu):
    """to = of + bias, unless bias has size 0, then relu; NaN stays."""
    i = types.int64

    def generate(context, builder, signature, values):
        to, to0, of, of0, bias, bias0, relu = values
        to_type, _, of_type, _, bias_type = signature.args[:5]
        value = _load(context, builder, of_type, of, of0)
        size = context.make_array(bias_type)(context, builder, bias).nitems
        with builder.if_else(builder.icmp_signed(">", size, ir.Constant(_int, 0))) as (some, none):
            with some:
                added = builder.fadd(value, _load(context, builder, bias_type, bias, bias0))
                from_some = builder.block
            with none:
                from_none = builder.block
        total = builder.phi(_vector)
        total.add_incoming(added, from_some)
        total.add_incoming(value, from_none)
        cut = builder.fcmp_ordered("<=", total, _constant(0))
        positive = builder.select(cut, _constant(0), total)
        _store(context, builder, builder.select(relu, positive, total), to_type, to, to0)
        return context.get_dummy_value()

    return types.void(to, i, of, i, bias, i, types.boolean), generate
