"""A small tile of a matrix product whose sums stay in registers.

    C[i, j] += Σ_k A[i, k] B[k, j]       i < m,  j < columns(dtype) = 64 bytes' worth

LLVM does not find this form by itself: from three nested loops it makes code that loads and stores C at
every k. So the loop over k is written down in LLVM's own language here, with m vectors of 64 bytes as its
state; on AVX2 6 × 2 registers of sums, two of B and one of A fill the 16 there are. Vectors of another
width than the machine's are split or widened by LLVM. Goto & van de Geijn 2008; Van Zee & van de Geijn
2015.

`add_tile_product(m)` is a function for use inside kernels. Its matrices are given as an array of any shape,
the position of the first element in it, and the distances between elements:

    C[i, j] = c[c0 + i*c_row + j]    A[i, k] = a[a0 + i*a_row + k*a_k]    B[k, j] = b[b0 + k*b_k + j]

`segments` products of this kind are added up, the elements of A a_segment apart, those of B b_segment.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from dlkit.backends.numba._compile import jit

BYTES = 64
MOST_ROWS = 6


def columns(dtype):
    return BYTES // dtype.itemsize


def _tile_product(m, fresh=False):
    """fresh: C = A B, and C is not read."""

    @intrinsic
    def add_tile_product(typing, c, c0, c_row, a, a0, a_row, a_k, b, b0, b_k, count, segments, a_segment, b_segment):
        i = types.int64
        signature = types.void(c, i, i, a, i, i, i, b, i, i, i, i, i, i)

        def generate(context, builder, signature, values):
            _, c0, c_row, _, a0, a_row, a_k, _, b0, b_k, count, segments, a_segment, b_segment = values
            real = context.get_data_type(signature.args[0].dtype)
            size = context.get_abi_sizeof(real)
            lanes = BYTES // size
            vector = ir.VectorType(real, lanes)
            splat = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
            name = f"llvm.fmuladd.v{lanes}f{8 * size}"
            multiply_add = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)

            def at(p, offset):
                return builder.gep(p, [offset], source_etype=real)

            def address(which, offset):
                array = context.make_array(signature.args[which])(context, builder, values[which])
                return at(array.data, offset)

            def as_vector(p):
                return builder.bitcast(p, vector.as_pointer())

            rows = [ir.Constant(i64, row) for row in range(m)]
            c_rows = [as_vector(at(address(0, c0), builder.mul(row, c_row))) for row in rows]
            a_rows = [at(address(3, a0), builder.mul(row, a_row)) for row in rows]
            b_first = address(7, b0)

            zero, one = ir.Constant(i64, 0), ir.Constant(i64, 1)
            none = ir.Constant(vector, [0.0] * lanes)
            before = builder.block
            names = "tile.segment", "tile.head", "tile.body", "tile.next", "tile.end"
            segment, head, body, following, end = (builder.append_basic_block(n) for n in names)
            builder.branch(segment)

            builder.position_at_end(segment)
            index = builder.phi(i64)
            carried = [builder.phi(vector) for _ in rows]
            a_shift, b_shift = builder.mul(index, a_segment), builder.mul(index, b_segment)
            builder.cbranch(builder.icmp_signed("<", index, segments), head, end)

            builder.position_at_end(head)
            k = builder.phi(i64)
            sums = [builder.phi(vector) for _ in rows]
            builder.cbranch(builder.icmp_signed("<", k, count), body, following)

            builder.position_at_end(body)
            b_offset = builder.add(b_shift, builder.mul(k, b_k))
            b_vector = builder.load(as_vector(at(b_first, b_offset)), align=size, typ=vector)
            a_offset = builder.add(a_shift, builder.mul(k, a_k))
            undefined = ir.Constant(vector, ir.Undefined)
            more = []
            for p, total in zip(a_rows, sums):
                element = builder.load(at(p, a_offset), align=size, typ=real)
                first = builder.insert_element(undefined, element, ir.Constant(ir.IntType(32), 0))
                a_vector = builder.shuffle_vector(first, undefined, splat)
                more.append(builder.call(multiply_add, [a_vector, b_vector, total]))
            k_next = builder.add(k, one)
            builder.branch(head)

            builder.position_at_end(following)
            index_next = builder.add(index, one)
            builder.branch(segment)

            def joined(phis, first, from_first, later, from_later):
                for phi, one_value, other in zip(phis, first, later):
                    phi.add_incoming(one_value, from_first)
                    phi.add_incoming(other, from_later)

            joined([index, *carried], [zero] + m * [none], before, [index_next, *sums], following)
            joined([k, *sums], [zero, *carried], segment, [k_next, *more], body)

            builder.position_at_end(end)
            for p, total in zip(c_rows, carried):
                if not fresh:
                    total = builder.fadd(builder.load(p, align=size, typ=vector), total)
                builder.store(total, p, align=size)
            return context.get_dummy_value()

        return signature, generate

    return add_tile_product


i64 = ir.IntType(64)
add_six, add_four, add_two, add_one = (_tile_product(m) for m in (6, 4, 2, 1))
set_six, set_one = (_tile_product(m, fresh=True) for m in (6, 1))


@jit
def add_product(rows, c, c0, c_row, a, a0, a_row, a_k, b, b0, b_k, count):
    """The tile for any number of rows, one segment."""
    add_products(rows, c, c0, c_row, a, a0, a_row, a_k, b, b0, b_k, count, 1, 0, 0)


@jit
def add_products(rows, c, c0, c_row, a, a0, a_row, a_k, b, b0, b_k, count, segments, a_segment, b_segment):
    """The tile for any number of rows."""
    rest = a_k, b, b0, b_k, count, segments, a_segment, b_segment
    i = 0
    while rows - i >= 6:
        add_six(c, c0 + i * c_row, c_row, a, a0 + i * a_row, a_row, *rest)
        i += 6
    if rows - i >= 4:
        add_four(c, c0 + i * c_row, c_row, a, a0 + i * a_row, a_row, *rest)
        i += 4
    if rows - i >= 2:
        add_two(c, c0 + i * c_row, c_row, a, a0 + i * a_row, a_row, *rest)
        i += 2
    if rows - i >= 1:
        add_one(c, c0 + i * c_row, c_row, a, a0 + i * a_row, a_row, *rest)


@jit
def set_product(rows, c, c0, c_row, a, a0, a_row, a_k, b, b0, b_k, count):
    """The same, one segment, C not read."""
    set_products(rows, c, c0, c_row, a, a0, a_row, a_k, b, b0, b_k, count, 1, 0, 0)


@jit
def set_products(rows, c, c0, c_row, a, a0, a_row, a_k, b, b0, b_k, count, segments, a_segment, b_segment):
    """The same, C not read. The last six rows may overlap those before them, and are computed twice."""
    rest = a_k, b, b0, b_k, count, segments, a_segment, b_segment
    if rows < 6:
        for i in range(rows):
            set_one(c, c0 + i * c_row, c_row, a, a0 + i * a_row, a_row, *rest)
    else:
        for i in range(0, rows, 6):
            i = min(i, rows - 6)
            set_six(c, c0 + i * c_row, c_row, a, a0 + i * a_row, a_row, *rest)
