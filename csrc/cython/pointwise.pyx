"""The memory-bound kernels (csrc/kernels/pointwise/) on numpy arrays: checks, allocates, releases the GIL, calls.

Names, arguments and results are those of dlkit/backends/contract.py, except that a call which these kernels do not take
(dtype, memory layout, shapes) returns None; `why_not(*arrays)` says why. Nothing here computes.
"""

from numpy import empty

cimport numpy as cnp
from cpython.float cimport PyFloat_CheckExact
from cpython.long cimport PyLong_CheckExact
from cpython.pystate cimport PyThreadState
from dl_pointwise cimport *
from libc.stdint cimport int64_t, uint8_t

cdef extern from "dl_array.h":
    object dl_new_array(int ndim, cnp.npy_intp *shape, int type)
    int dl_array_import() except -1

cnp.import_array()
dl_array_import()

cdef const dl_pointwise *T = dl_pointwise_kernels()
cdef long SMALL = 8192  # below this many elements, giving the GIL away costs more than it is worth


cdef extern from "Python.h":
    PyThreadState *PyEval_SaveThread()
    void PyEval_RestoreThread(PyThreadState *thread)

cdef extern from "numpy/arrayobject.h" nogil:
    bint PyArray_ISCARRAY_RO(cnp.ndarray)
    bint PyArray_ISCARRAY(cnp.ndarray)


# -- the checks ------------------------------------------------------------------------------------------------

cdef inline int real(object x) noexcept:
    """0 for a float32 and 1 for a float64 array that is C-contiguous, aligned and of native byte order; else -1."""
    cdef int t
    if not cnp.PyArray_Check(x) or not PyArray_ISCARRAY_RO(<cnp.ndarray>x):
        return -1
    t = cnp.PyArray_TYPE(<cnp.ndarray>x)
    return 0 if t == cnp.NPY_FLOAT else 1 if t == cnp.NPY_DOUBLE else -1


cdef inline bint same(object x, object y) noexcept:
    """Two arrays of one dtype and one shape."""
    return cnp.PyArray_TYPE(<cnp.ndarray>x) == cnp.PyArray_TYPE(<cnp.ndarray>y) and same_shape(x, y)


cdef inline bint same_shape(object x, object y) noexcept:
    cdef int i, d = cnp.PyArray_NDIM(<cnp.ndarray>x)
    if d != cnp.PyArray_NDIM(<cnp.ndarray>y):
        return False
    for i in range(d):
        if cnp.PyArray_DIM(<cnp.ndarray>x, i) != cnp.PyArray_DIM(<cnp.ndarray>y, i):
            return False
    return True


cdef inline bint is_row(object x, int t, long c) noexcept:
    """A real array [c] of type t."""
    return real(x) == t and cnp.PyArray_NDIM(<cnp.ndarray>x) == 1 and cnp.PyArray_DIM(<cnp.ndarray>x, 0) == c


cdef inline bint is_image(object x) noexcept:
    return real(x) >= 0 and cnp.PyArray_NDIM(<cnp.ndarray>x) == 4


cdef inline bint in_place(object x, int t) noexcept:
    return real(x) == t and PyArray_ISCARRAY(<cnp.ndarray>x)


cdef inline bint apart(object x, object y) noexcept:
    """Two arrays of one size share all of their memory or none."""
    cdef char *a = cnp.PyArray_BYTES(<cnp.ndarray>x)
    cdef char *b = cnp.PyArray_BYTES(<cnp.ndarray>y)
    cdef Py_ssize_t n = cnp.PyArray_NBYTES(<cnp.ndarray>x)
    return a == b or a + n <= b or b + n <= a


cdef inline void *data(object x) noexcept:
    return NULL if x is None else cnp.PyArray_DATA(<cnp.ndarray>x)


cdef inline long size(object x) noexcept:
    return cnp.PyArray_SIZE(<cnp.ndarray>x)


cdef inline long dim(object x, int i) noexcept:
    return cnp.PyArray_DIM(<cnp.ndarray>x, i)


cdef inline long last_dim(object x) noexcept:
    return cnp.PyArray_DIM(<cnp.ndarray>x, cnp.PyArray_NDIM(<cnp.ndarray>x) - 1)


cdef inline object shaped_like(object x, int typenum):
    return dl_new_array(cnp.PyArray_NDIM(<cnp.ndarray>x), cnp.PyArray_DIMS(<cnp.ndarray>x), typenum)


cdef inline object like(object x):
    return shaped_like(x, cnp.PyArray_TYPE(<cnp.ndarray>x))


cdef inline object row_like(object x, long c):
    cdef cnp.npy_intp shape = c
    return dl_new_array(1, &shape, cnp.PyArray_TYPE(<cnp.ndarray>x))


cdef inline object image_like(object x, long h, long w, int typenum):
    """An empty [n, h, w, c] with x's n and c."""
    cdef cnp.npy_intp shape[4]
    shape[0], shape[1], shape[2], shape[3] = dim(x, 0), h, w, dim(x, 3)
    return dl_new_array(4, shape, typenum)


cdef inline bint has_shape(object x, long n, long h, long w, long c) noexcept:
    return dim(x, 0) == n and dim(x, 1) == h and dim(x, 2) == w and dim(x, 3) == c


cdef inline PyThreadState *leave(long n) noexcept:
    """Gives the GIL away for work on n elements, if that is worth it. Until `enter` no object may be made or dropped;
    `data` of a local variable may be taken."""
    return PyEval_SaveThread() if n >= SMALL else NULL


cdef inline void enter(PyThreadState *thread) noexcept:
    if thread is not NULL:
        PyEval_RestoreThread(thread)


cdef inline int check(int status) except -1:
    if status == DL_NO_MEMORY:
        raise MemoryError("no memory for a kernel's workspace")
    return status


def why_not(*arrays):
    """Why the kernels here do not take these arguments, in words."""
    cdef int t, first = -1
    for x in arrays:
        if x is None or isinstance(x, (int, float)):
            continue
        if not cnp.PyArray_Check(x):
            return f"takes numpy arrays, not {type(x).__name__}"
        t = cnp.PyArray_TYPE(<cnp.ndarray>x)
        if t != cnp.NPY_FLOAT and t != cnp.NPY_DOUBLE:
            return f"takes float32 and float64, not {x.dtype}"
        if not PyArray_ISCARRAY_RO(<cnp.ndarray>x):
            return "takes C-contiguous arrays only"
        if first >= 0 and t != first:
            return "takes operands of one dtype only"
        first = t
    shapes = " and ".join(str(x.shape) for x in arrays if cnp.PyArray_Check(x))
    return f"does not take shapes {shapes} (or an array that is read-only, or overlaps another)"


# -- element-wise --------------------------------------------------------------------------------------------------

cdef object unary(object x, const dl_unary *f, double p, double q):
    cdef int t = real(x)
    if t < 0:
        return None
    y = like(x)
    thread = leave(size(x))
    f[t](data(x), data(y), p, q, size(x))
    enter(thread)
    return y


cdef object slope(object dy, object xy, const dl_slope *f, double p):
    cdef int t = real(dy)
    if t < 0 or real(xy) != t or not same(dy, xy):
        return None
    dx = like(dy)
    thread = leave(size(dy))
    f[t](data(dy), data(xy), data(dx), p, size(dy))
    enter(thread)
    return dx


cdef inline bint is_trailing(object row, object x) noexcept:
    """row is [c] or [1, ..., 1, c], x is [..., c] with no fewer axes."""
    cdef int i, d = cnp.PyArray_NDIM(<cnp.ndarray>row)
    if d == 0 or d > cnp.PyArray_NDIM(<cnp.ndarray>x) or last_dim(row) != last_dim(x):
        return False
    for i in range(d - 1):
        if dim(row, i) != 1:
            return False
    return True


cdef inline bint is_number(object x) noexcept:
    return PyFloat_CheckExact(x) or PyLong_CheckExact(x)


cdef object binary(object a, object b, const dl_binary *f, int typenum=-1):
    """typenum: of the result, where it is not that of the operands."""
    cdef int t = real(a)
    cdef long c = 1
    cdef double number = 0
    cdef dl_operands operands
    big = a
    if t >= 0 and is_number(b):
        operands, number = DL_NUMBER_RIGHT, b
    elif t < 0:
        t = real(b)
        if t < 0 or not is_number(a):
            return None
        operands, number, big = DL_NUMBER_LEFT, a, b
    elif real(b) != t:
        return None
    elif same(a, b):
        operands = DL_BOTH
    elif is_trailing(b, a):
        operands, c = DL_ROW_RIGHT, last_dim(a)
    elif is_trailing(a, b):
        operands, c, big = DL_ROW_LEFT, last_dim(b), b
    else:
        return None
    y = shaped_like(big, cnp.PyArray_TYPE(<cnp.ndarray>big) if typenum < 0 else typenum)
    cdef void *pa = NULL if operands == DL_NUMBER_LEFT else data(a)
    cdef void *pb = NULL if operands == DL_NUMBER_RIGHT else data(b)
    thread = leave(size(y))
    f[t](pa, pb, data(y), number, size(y), c, operands)
    enter(thread)
    return y


def add(a, b): return binary(a, b, T.add)
def subtract(a, b): return binary(a, b, T.subtract)
def multiply(a, b): return binary(a, b, T.multiply)
def divide(a, b): return binary(a, b, T.divide)
def maximum(a, b): return binary(a, b, T.maximum)
def minimum(a, b): return binary(a, b, T.minimum)
def greater(a, b): return binary(a, b, T.greater, cnp.NPY_BOOL)
def greater_equal(a, b): return binary(a, b, T.greater_equal, cnp.NPY_BOOL)
def equal(a, b): return binary(a, b, T.equal, cnp.NPY_BOOL)
def negative(x): return unary(x, T.negative, 0, 0)
def exp(x): return unary(x, T.exp, 0, 0)
def log(x): return unary(x, T.log, 0, 0)
def sqrt(x): return unary(x, T.sqrt, 0, 0)
def abs(x): return unary(x, T.abs, 0, 0)
def clip(x, double low, double high): return unary(x, T.clip, low, high)

def sigmoid(x): return unary(x, T.sigmoid, 0, 0)
def tanh(x): return unary(x, T.tanh, 0, 0)
def relu(x): return unary(x, T.relu, 0, 0)
def leaky_relu(x, double slope): return unary(x, T.leaky_relu, slope, 0)
def elu(x, double alpha): return unary(x, T.elu, alpha, 0)
def gelu(x): return unary(x, T.gelu, 0, 0)
def silu(x): return unary(x, T.silu, 0, 0)
def softplus(x): return unary(x, T.softplus, 0, 0)
def sigmoid_backward(dy, y): return slope(dy, y, T.sigmoid_backward, 0)
def tanh_backward(dy, y): return slope(dy, y, T.tanh_backward, 0)
def relu_backward(dy, y): return slope(dy, y, T.relu_backward, 0)
def leaky_relu_backward(dy, x, double p): return slope(dy, x, T.leaky_relu_backward, p)
def elu_backward(dy, x, double alpha): return slope(dy, x, T.elu_backward, alpha)
def gelu_backward(dy, x): return slope(dy, x, T.gelu_backward, 0)
def silu_backward(dy, x): return slope(dy, x, T.silu_backward, 0)
def softplus_backward(dy, x): return slope(dy, x, T.softplus_backward, 0)


def where(mask, a, b):
    """mask, and a and b where they are not numbers, are of one shape."""
    x = b if is_number(a) else a
    cdef int t = real(x)
    if (t < 0 or not cnp.PyArray_Check(mask) or cnp.PyArray_TYPE(<cnp.ndarray>mask) != cnp.NPY_BOOL
            or not PyArray_ISCARRAY_RO(<cnp.ndarray>mask) or not same_shape(mask, x)):
        return None
    if x is a and not is_number(b) and (real(b) != t or not same(a, b)):
        return None
    cdef double number = a if x is b else b if is_number(b) else 0
    cdef void *pa = data(a) if x is a else NULL
    cdef void *pb = NULL if is_number(b) else data(b)
    y = like(x)
    thread = leave(size(y))
    T.where[t](<const uint8_t *>data(mask), pa, pb, data(y), number, size(y))
    enter(thread)
    return y


# -- rows: softmax and cross entropy ------------------------------------------------------------------------------------

cdef inline bint is_last(object x, int axis) noexcept:
    cdef int d = cnp.PyArray_NDIM(<cnp.ndarray>x)
    return d > 0 and (axis == -1 or axis == d - 1)


cdef inline long row_count(object x) noexcept:
    return size(x) // last_dim(x) if last_dim(x) > 0 else 0


cdef object rows(object x, int axis, const dl_rows *f):
    cdef int t = real(x)
    if t < 0 or not is_last(x, axis):
        return None
    y = like(x)
    thread = leave(size(x))
    f[t](data(x), data(y), row_count(x), last_dim(x))
    enter(thread)
    return y


cdef object rows_backward(object dy, object y, int axis, const dl_rows_backward *f):
    cdef int t = real(dy)
    if t < 0 or real(y) != t or not same(dy, y) or not is_last(y, axis):
        return None
    dx = like(dy)
    thread = leave(size(dy))
    f[t](data(dy), data(y), data(dx), row_count(y), last_dim(y))
    enter(thread)
    return dx


def softmax(x, int axis): return rows(x, axis, T.softmax)
def log_softmax(x, int axis): return rows(x, axis, T.log_softmax)
def softmax_backward(dy, y, int axis): return rows_backward(dy, y, axis, T.softmax_backward)
def log_softmax_backward(dy, y, int axis): return rows_backward(dy, y, axis, T.log_softmax_backward)


cdef inline bint fit_for_loss(object x, object labels, object weights) noexcept:
    """x [m, k] with k > 0, labels int64 [m], weights [k] of x's type, or None."""
    return (real(x) >= 0 and cnp.PyArray_NDIM(<cnp.ndarray>x) == 2 and dim(x, 1) > 0
            and cnp.PyArray_Check(labels) and cnp.PyArray_TYPE(<cnp.ndarray>labels) == cnp.NPY_INT64
            and PyArray_ISCARRAY_RO(<cnp.ndarray>labels) and cnp.PyArray_NDIM(<cnp.ndarray>labels) == 1
            and dim(labels, 0) == dim(x, 0) and (weights is None or is_row(weights, real(x), dim(x, 1))))


def cross_entropy_forward(logits, labels, weights, double smoothing):
    cdef int status
    if not fit_for_loss(logits, labels, weights):
        return None
    loss, p = row_like(logits, dim(logits, 0)), like(logits)
    thread = leave(size(logits))
    status = T.cross_entropy_forward[real(logits)](
        data(logits), <const int64_t *>data(labels), data(weights), smoothing, data(loss), data(p), dim(logits, 0),
        dim(logits, 1))
    enter(thread)
    return None if status == DL_BAD_LABEL else (loss, p)


def cross_entropy_backward(dloss, p, labels, weights, double smoothing):
    cdef int status
    if not fit_for_loss(p, labels, weights) or not is_row(dloss, real(p), dim(p, 0)):
        return None
    dx = like(p)
    thread = leave(size(p))
    status = T.cross_entropy_backward[real(p)](
        data(dloss), data(p), <const int64_t *>data(labels), data(weights), smoothing, data(dx), dim(p, 0), dim(p, 1))
    enter(thread)
    return None if status == DL_BAD_LABEL else dx


# -- reductions -----------------------------------------------------------------------------------------------------------

def sum(x, axes, bint keepdims):
    """axes must be neighbours: [a, b, c] -> [a, c]."""
    cdef int t = real(x), i, axis, d, out = 0, status
    cdef long a = 1, b = 1, c = 1
    cdef bint[32] reduced
    cdef cnp.npy_intp[32] shape
    if t < 0 or cnp.PyArray_NDIM(<cnp.ndarray>x) > 32:
        return None
    d = cnp.PyArray_NDIM(<cnp.ndarray>x)
    for i in range(d):
        reduced[i] = False
    for axis in axes:
        if axis < -d or axis >= d:
            return None
        reduced[axis + d if axis < 0 else axis] = True
    i = 0
    while i < d and not reduced[i]:
        a *= dim(x, i)
        i += 1
    while i < d and reduced[i]:
        b *= dim(x, i)
        i += 1
    while i < d:
        if reduced[i]:
            return None
        c *= dim(x, i)
        i += 1
    for i in range(d):
        if not reduced[i] or keepdims:
            shape[out] = 1 if reduced[i] else dim(x, i)
            out += 1
    y = dl_new_array(out, shape, cnp.PyArray_TYPE(<cnp.ndarray>x))
    thread = leave(size(x))
    status = T.sum[t](data(x), data(y), a, b, c)
    enter(thread)
    check(status)
    return y


def sum_of_squares(x):
    cdef int t = real(x)
    cdef double total
    if t < 0:
        return None
    thread = leave(size(x))
    total = T.sum_of_squares[t](data(x), size(x))
    enter(thread)
    return total


def all_finite(x):
    cdef int t = real(x), finite
    if t < 0:
        return None
    thread = leave(size(x))
    finite = T.all_finite[t](data(x), size(x))
    enter(thread)
    return finite != 0


# -- pooling -----------------------------------------------------------------------------------------------------------------

cdef bint pooling(dl_pool *g, x, long h, long w, kernel, stride, padding) except -1:
    """Fills g for images of h by w pixels, with x's n and c; False where there is no such pooling."""
    cdef long bottom, right
    if not is_image(x):
        return False
    g.n, g.h, g.w, g.c = dim(x, 0), h, w, dim(x, 3)
    g.r, g.s = kernel
    g.stride_h, g.stride_w = stride
    g.top, bottom, g.left, right = padding
    if g.r < 1 or g.s < 1 or g.stride_h < 1 or g.stride_w < 1 or g.top < 0 or g.left < 0 or bottom < 0 or right < 0:
        return False
    if h < 1 or w < 1 or h + g.top + bottom < g.r or w + g.left + right < g.s:
        return False
    g.oh = (h + g.top + bottom - g.r) // g.stride_h + 1
    g.ow = (w + g.left + right - g.s) // g.stride_w + 1
    return True


cdef inline bint has_image_type(object x, int typenum) noexcept:
    return (cnp.PyArray_Check(x) and PyArray_ISCARRAY_RO(<cnp.ndarray>x)
            and cnp.PyArray_TYPE(<cnp.ndarray>x) == typenum and cnp.PyArray_NDIM(<cnp.ndarray>x) == 4)


def max_pool2d_forward(x, kernel, stride, padding):
    cdef dl_pool g
    if not is_image(x) or not pooling(&g, x, dim(x, 1), dim(x, 2), kernel, stride, padding) or g.r * g.s > 256:
        return None
    y, where = image_like(x, g.oh, g.ow, cnp.PyArray_TYPE(<cnp.ndarray>x)), image_like(x, g.oh, g.ow, cnp.NPY_UINT8)
    thread = leave(size(x))
    T.max_pool2d_forward[real(x)](data(x), data(y), <uint8_t *>data(where), &g)
    enter(thread)
    return y, where


def max_pool2d_backward(dy, where, image, kernel, stride, padding):
    cdef dl_pool g
    if (not pooling(&g, dy, image[0], image[1], kernel, stride, padding)
            or not has_shape(dy, g.n, g.oh, g.ow, g.c) or not has_image_type(where, cnp.NPY_UINT8)
            or not has_shape(where, g.n, g.oh, g.ow, g.c)):
        return None
    dx = image_like(dy, g.h, g.w, cnp.PyArray_TYPE(<cnp.ndarray>dy))
    thread = leave(size(dx))
    T.max_pool2d_backward[real(dy)](data(dy), <const uint8_t *>data(where), data(dx), &g)
    enter(thread)
    return dx


def avg_pool2d_forward(x, kernel, stride, padding):
    cdef dl_pool g
    if not is_image(x) or not pooling(&g, x, dim(x, 1), dim(x, 2), kernel, stride, padding):
        return None
    y = image_like(x, g.oh, g.ow, cnp.PyArray_TYPE(<cnp.ndarray>x))
    thread = leave(size(x))
    T.avg_pool2d_forward[real(x)](data(x), data(y), &g)
    enter(thread)
    return y


def avg_pool2d_backward(dy, image, kernel, stride, padding):
    cdef dl_pool g
    if (not pooling(&g, dy, image[0], image[1], kernel, stride, padding)
            or not has_shape(dy, g.n, g.oh, g.ow, g.c)):
        return None
    dx = image_like(dy, g.h, g.w, cnp.PyArray_TYPE(<cnp.ndarray>dy))
    thread = leave(size(dx))
    T.avg_pool2d_backward[real(dy)](data(dy), data(dx), &g)
    enter(thread)
    return dx


cdef bint adaptive(dl_pool *g, x, long h, long w, long oh, long ow) noexcept:
    if not is_image(x):
        return False
    g.n, g.h, g.w, g.c, g.oh, g.ow = dim(x, 0), h, w, dim(x, 3), oh, ow
    g.r = g.s = g.stride_h = g.stride_w = g.top = g.left = 0
    return h > 0 and w > 0 and oh > 0 and ow > 0


def adaptive_avg_pool2d_forward(x, image):
    cdef dl_pool g
    cdef int status
    if not is_image(x) or not adaptive(&g, x, dim(x, 1), dim(x, 2), image[0], image[1]):
        return None
    y = image_like(x, g.oh, g.ow, cnp.PyArray_TYPE(<cnp.ndarray>x))
    thread = leave(size(x))
    status = T.adaptive_avg_pool2d_forward[real(x)](data(x), data(y), &g)
    enter(thread)
    check(status)
    return y


def adaptive_avg_pool2d_backward(dy, image):
    cdef dl_pool g
    if not is_image(dy) or not adaptive(&g, dy, image[0], image[1], dim(dy, 1), dim(dy, 2)):
        return None
    dx = image_like(dy, g.h, g.w, cnp.PyArray_TYPE(<cnp.ndarray>dy))
    thread = leave(size(dx))
    T.adaptive_avg_pool2d_backward[real(dy)](data(dy), data(dx), &g)
    enter(thread)
    return dx


# -- shape ------------------------------------------------------------------------------------------------------------------

cdef bint boxed(x, y, dl_box *b) noexcept:
    """Fills b for a copy of x into y, of one shape and type; False where a last axis is not contiguous. Axes that lie
    behind each other in both are taken together."""
    cdef int i, d = cnp.PyArray_NDIM(<cnp.ndarray>x)
    cdef long item = cnp.PyArray_ITEMSIZE(<cnp.ndarray>x), n, from_, to
    b.axes = 0
    for i in range(d):
        n = dim(x, i)
        from_ = cnp.PyArray_STRIDE(<cnp.ndarray>x, i)
        to = cnp.PyArray_STRIDE(<cnp.ndarray>y, i)
        if n == 1:
            continue
        if from_ % item or to % item or b.axes == DL_AXES:
            return False
        from_, to = from_ // item, to // item
        if b.axes and b.from_[b.axes - 1] == n * from_ and b.to[b.axes - 1] == n * to:
            b.axes -= 1
            n *= b.size[b.axes]
        b.size[b.axes], b.from_[b.axes], b.to[b.axes] = n, from_, to
        b.axes += 1
    if b.axes == 0:
        b.axes, b.size[0], b.from_[0], b.to[0] = 1, 1, 1, 1
    return b.from_[b.axes - 1] == 1 and b.to[b.axes - 1] == 1


cdef inline int real_anywhere(object x) noexcept:
    """`real`, of an array that need not be contiguous."""
    if (not cnp.PyArray_Check(x) or not cnp.PyArray_ISALIGNED(<cnp.ndarray>x)
            or not cnp.PyArray_ISNOTSWAPPED(<cnp.ndarray>x)):
        return -1
    return (0 if cnp.PyArray_TYPE(<cnp.ndarray>x) == cnp.NPY_FLOAT else
            1 if cnp.PyArray_TYPE(<cnp.ndarray>x) == cnp.NPY_DOUBLE else -1)


def copy_into(x, y):
    """y[...] = x, views with any strides but along the last axis; they must not overlap."""
    cdef dl_box b
    cdef int t = real_anywhere(x)
    if t < 0 or real_anywhere(y) != t or not same_shape(x, y) or not boxed(x, y, &b):
        return None
    if size(x):
        thread = leave(size(x))
        T.copy_box[t](data(x), data(y), &b)
        enter(thread)
    return True


def full(x, shape, double value):
    """An array of x's type."""
    cdef int t = real_anywhere(x)
    if t < 0:
        return None
    y = empty(shape, x.dtype)
    thread = leave(size(y))
    T.fill[t](data(y), value, size(y))
    enter(thread)
    return y


# -- normalisation ----------------------------------------------------------------------------------------------------------

cdef int norm_activation(object x, object residual, object activation) noexcept:
    """The activation's number, or -1 if it is not fused or x [m > 0, c] and residual (None or like x) do not fit."""
    cdef int t = real(x)
    if t < 0 or cnp.PyArray_NDIM(<cnp.ndarray>x) != 2 or dim(x, 0) == 0:
        return -1
    if residual is not None and (real(residual) != t or not same(residual, x)):
        return -1
    return (DL_NORM_NONE if activation is None else DL_NORM_RELU if activation == "relu" else
            DL_NORM_RELU6 if activation == "relu6" else DL_NORM_LEAKY_RELU if activation == "leaky_relu" else -1)


cdef bint are_rows(object x, object a, object b, object c, object d) noexcept:
    """All are [c] for x [m, c], and of its type."""
    cdef int t = real(x)
    return (is_row(a, t, dim(x, 1)) and is_row(b, t, dim(x, 1)) and is_row(c, t, dim(x, 1))
            and is_row(d, t, dim(x, 1)))


def batch_norm_forward(x, gamma, beta, residual, double eps, activation, double slope):
    cdef int status, act = norm_activation(x, residual, activation)
    if act < 0 or not are_rows(x, gamma, beta, gamma, beta):
        return None
    y, mean, inv_std = like(x), row_like(x, dim(x, 1)), row_like(x, dim(x, 1))
    thread = leave(size(x))
    status = T.batch_norm_forward[real(x)](
        data(x), data(gamma), data(beta), data(residual), eps, <dl_norm_activation>act, slope, data(y), data(mean),
        data(inv_std), dim(x, 0), dim(x, 1))
    enter(thread)
    check(status)
    return y, mean, inv_std


def batch_norm_backward(dy, x, y, gamma, beta, mean, inv_std, activation, double slope, bint residual):
    cdef int status, act = norm_activation(x, dy, activation)
    if act < 0 or dy is None or not are_rows(x, gamma, beta, mean, inv_std):
        return None
    if residual and act != DL_NORM_NONE and (real(y) != real(x) or not same(y, x)):
        return None
    dx, dgamma, dbeta = like(x), row_like(x, dim(x, 1)), row_like(x, dim(x, 1))
    dz = like(x) if residual and act != DL_NORM_NONE else None
    cdef void *py = NULL if dz is None else data(y)
    thread = leave(size(x))
    status = T.batch_norm_backward[real(x)](
        data(dy), data(x), py, data(gamma), data(beta), data(mean), data(inv_std), <dl_norm_activation>act, slope,
        data(dx), data(dgamma), data(dbeta), data(dz), dim(x, 0), dim(x, 1))
    enter(thread)
    check(status)
    return dx, dgamma, dbeta, dy if residual and dz is None else dz


def batch_norm_inference(x, gamma, beta, mean, var, residual, double eps, activation, double slope):
    cdef int status, act = norm_activation(x, residual, activation)
    if act < 0 or not are_rows(x, gamma, beta, mean, var):
        return None
    y = like(x)
    thread = leave(size(x))
    status = T.batch_norm_inference[real(x)](
        data(x), data(gamma), data(beta), data(mean), data(var), data(residual), eps, <dl_norm_activation>act, slope,
        data(y), dim(x, 0), dim(x, 1))
    enter(thread)
    check(status)
    return y


# -- resampling --------------------------------------------------------------------------------------------------------------

def upsample_nearest_forward(x, scale):
    cdef long down, across
    down, across = scale
    if not is_image(x) or down < 1 or across < 1:
        return None
    y = image_like(x, dim(x, 1) * down, dim(x, 2) * across, cnp.PyArray_TYPE(<cnp.ndarray>x))
    thread = leave(size(y))
    T.upsample_nearest_forward[real(x)](
        data(x), data(y), dim(x, 0), dim(x, 1), dim(x, 2), dim(x, 3), dim(y, 1), dim(y, 2), 0)
    enter(thread)
    return y


def upsample_nearest_backward(dy, scale):
    cdef long down, across
    down, across = scale
    if not is_image(dy) or down < 1 or across < 1 or dim(dy, 1) % down or dim(dy, 2) % across:
        return None
    dx = image_like(dy, dim(dy, 1) // down, dim(dy, 2) // across, cnp.PyArray_TYPE(<cnp.ndarray>dy))
    thread = leave(size(dy))
    T.upsample_nearest_backward[real(dy)](
        data(dy), data(dx), dim(dx, 0), dim(dx, 1), dim(dx, 2), dim(dx, 3), dim(dy, 1), dim(dy, 2), 0)
    enter(thread)
    return dx


def upsample_bilinear_forward(x, image, bint align_corners):
    cdef int status
    if not is_image(x) or image[0] < 1 or image[1] < 1 or dim(x, 1) < 1 or dim(x, 2) < 1:
        return None
    y = image_like(x, image[0], image[1], cnp.PyArray_TYPE(<cnp.ndarray>x))
    thread = leave(size(y))
    status = T.upsample_bilinear_forward[real(x)](
        data(x), data(y), dim(x, 0), dim(x, 1), dim(x, 2), dim(x, 3), dim(y, 1), dim(y, 2), align_corners)
    enter(thread)
    check(status)
    return y


def upsample_bilinear_backward(dy, image, bint align_corners):
    cdef int status
    if not is_image(dy) or image[0] < 1 or image[1] < 1 or dim(dy, 1) < 1 or dim(dy, 2) < 1:
        return None
    dx = image_like(dy, image[0], image[1], cnp.PyArray_TYPE(<cnp.ndarray>dy))
    thread = leave(size(dy))
    status = T.upsample_bilinear_backward[real(dy)](
        data(dy), data(dx), dim(dx, 0), dim(dx, 1), dim(dx, 2), dim(dx, 3), dim(dy, 1), dim(dy, 2), align_corners)
    enter(thread)
    check(status)
    return dx


# -- in place: True where taken --------------------------------------------------------------------------------------------

cdef inline bint fit_for_step(object p, object g, object state, object more) noexcept:
    """p and what state there is can be written, all have p's dtype and shape, and none overlaps another in part."""
    cdef int t = real(p)
    if t < 0 or not in_place(p, t) or real(g) != t or not same(p, g) or not apart(p, g):
        return False
    for s in (state, more):
        if s is not None and (not in_place(s, t) or not same(p, s) or not apart(p, s) or not apart(g, s)):
            return False
    return True


def add_into(x, y):
    if not fit_for_step(x, y, None, None):
        return None
    thread = leave(size(x))
    T.add_into[real(x)](data(x), data(y), size(x))
    enter(thread)
    return True


def scale_into(x, double factor):
    cdef int t = real(x)
    if t < 0 or not in_place(x, t):
        return None
    thread = leave(size(x))
    T.scale_into[t](data(x), factor, size(x))
    enter(thread)
    return True


cdef object parameters(list ps, list gs, list states, list more, list decays):
    """(an array of bytes that holds the dl_steps, what must stay alive meanwhile), or None where an array does not fit."""
    cdef cnp.npy_intp room = len(ps) * sizeof(dl_step)
    steps = dl_new_array(1, &room, cnp.NPY_UINT8)
    cdef dl_step *step = <dl_step *>data(steps)
    cdef int t = real(ps[0]) if ps else -1
    if t < 0 or len(gs) != len(ps) or len(decays) != len(ps):
        return None
    keep = []
    for i in range(len(ps)):
        g = gs[i]
        if cnp.PyArray_Check(g) and not PyArray_ISCARRAY_RO(<cnp.ndarray>g):
            g = cnp.PyArray_GETCONTIGUOUS(<cnp.ndarray>g)
        state = None if states is None else states[i]
        other = None if more is None else more[i]
        if real(ps[i]) != t or not fit_for_step(ps[i], g, state, other):
            return None
        keep.append(g)
        step[i].p, step[i].g, step[i].state, step[i].more = data(ps[i]), data(g), data(state), data(other)
        step[i].decay, step[i].n = decays[i], size(g)
    return steps, keep


def sgd_step(list ps, list gs, list velocities, double lr, double momentum, bint nesterov, list weight_decays):
    cdef int t
    found = parameters(ps, gs, velocities, None, weight_decays)
    if found is None:
        return None
    t = real(ps[0])
    cdef dl_step *steps = <dl_step *>data(found[0])
    cdef long count = len(ps)
    with nogil:
        T.sgd_step[t](steps, count, lr, momentum, nesterov)
    return True


def rmsprop_step(list ps, list gs, list squares, list velocities, double lr, double rho, double eps, double momentum,
                 list weight_decays):
    cdef int t
    found = None if squares is None else parameters(ps, gs, squares, velocities, weight_decays)
    if found is None:
        return None
    t = real(ps[0])
    cdef dl_step *steps = <dl_step *>data(found[0])
    cdef long count = len(ps)
    with nogil:
        T.rmsprop_step[t](steps, count, lr, rho, eps, momentum)
    return True


def adam_step(list ps, list gs, list ms, list vs, double lr, double beta1, double beta2, double eps,
              list weight_decays, bint decoupled, long step):
    cdef int t
    found = None if ms is None or vs is None else parameters(ps, gs, ms, vs, weight_decays)
    if found is None:
        return None
    t = real(ps[0])
    cdef dl_step *steps = <dl_step *>data(found[0])
    cdef long count = len(ps)
    with nogil:
        T.adam_step[t](steps, count, lr, beta1, beta2, eps, decoupled, step)
    return True
