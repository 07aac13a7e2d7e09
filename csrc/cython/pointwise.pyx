"""The memory-bound kernels (csrc/kernels/pointwise/) on numpy arrays: checks, allocates, releases the GIL, calls.

Names, arguments and results are those of dlkit/backends/contract.py, except that a call which these kernels do not take
(dtype, memory layout, shapes) returns None; `why_not(*arrays)` says why. Nothing here computes.
"""

cimport numpy as cnp
from cpython.float cimport PyFloat_CheckExact
from cpython.long cimport PyLong_CheckExact
from dl_pointwise cimport *
from libc.stdint cimport int64_t, uint8_t

cdef extern from "dl_array.h":
    object dl_new_array(int ndim, cnp.npy_intp *shape, int type)
    int dl_array_import() except -1

cnp.import_array()
dl_array_import()

cdef const dl_pointwise *T = dl_pointwise_kernels()
cdef long SMALL = 8192  # below this many elements, giving the GIL away costs more than it is worth


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
    """Two arrays, already known as real, of one dtype and one shape."""
    cdef int i, d = cnp.PyArray_NDIM(<cnp.ndarray>x)
    if d != cnp.PyArray_NDIM(<cnp.ndarray>y) or cnp.PyArray_TYPE(<cnp.ndarray>x) != cnp.PyArray_TYPE(<cnp.ndarray>y):
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


cdef inline object like(object x):
    return dl_new_array(cnp.PyArray_NDIM(<cnp.ndarray>x), cnp.PyArray_DIMS(<cnp.ndarray>x), cnp.PyArray_TYPE(<cnp.ndarray>x))


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
    cdef long n
    cdef void *a
    cdef void *b
    if t < 0:
        return None
    y = like(x)
    n, a, b = size(x), data(x), data(y)
    if n < SMALL:
        f[t](a, b, p, q, n)
    else:
        with nogil:
            f[t](a, b, p, q, n)
    return y


cdef object slope(object dy, object xy, const dl_slope *f, double p):
    cdef int t = real(dy)
    cdef long n
    cdef void *a
    cdef void *b
    cdef void *c
    if t < 0 or real(xy) != t or not same(dy, xy):
        return None
    dx = like(dy)
    n, a, b, c = size(dy), data(dy), data(xy), data(dx)
    if n < SMALL:
        f[t](a, b, c, p, n)
    else:
        with nogil:
            f[t](a, b, c, p, n)
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


cdef object binary(object a, object b, const dl_binary *f):
    cdef int t = real(a), u
    cdef long n, c = 1
    cdef double number = 0
    cdef dl_operands operands
    cdef void *pa = NULL
    cdef void *pb = NULL
    cdef void *py
    if t >= 0 and (PyFloat_CheckExact(b) or PyLong_CheckExact(b)):
        operands, number, y, pa = DL_NUMBER_RIGHT, b, like(a), data(a)
    elif t < 0:
        t = real(b)
        if t < 0 or not (PyFloat_CheckExact(a) or PyLong_CheckExact(a)):
            return None
        operands, number, y, pb = DL_NUMBER_LEFT, a, like(b), data(b)
    else:
        if real(b) != t:
            return None
        pa, pb = data(a), data(b)
        if same(a, b):
            operands, y = DL_BOTH, like(a)
        elif is_trailing(b, a):
            operands, y, c = DL_ROW_RIGHT, like(a), last_dim(a)
        elif is_trailing(a, b):
            operands, y, c = DL_ROW_LEFT, like(b), last_dim(b)
        else:
            return None
    n, py = size(y), data(y)
    if n < SMALL:
        f[t](pa, pb, py, number, n, c, operands)
    else:
        with nogil:
            f[t](pa, pb, py, number, n, c, operands)
    return y


def add(a, b): return binary(a, b, T.add)
def subtract(a, b): return binary(a, b, T.subtract)
def multiply(a, b): return binary(a, b, T.multiply)
def divide(a, b): return binary(a, b, T.divide)
def maximum(a, b): return binary(a, b, T.maximum)
def minimum(a, b): return binary(a, b, T.minimum)
def negative(x): return unary(x, T.negative, 0, 0)
def exp(x): return unary(x, T.exp, 0, 0)
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


# -- rows: softmax and cross entropy ------------------------------------------------------------------------------------

cdef inline bint is_last(object x, int axis) noexcept:
    cdef int d = cnp.PyArray_NDIM(<cnp.ndarray>x)
    return d > 0 and (axis == -1 or axis == d - 1)


cdef object rows(object x, int axis, const dl_rows *f):
    cdef int t = real(x)
    cdef long m, k
    cdef void *a
    cdef void *b
    if t < 0 or not is_last(x, axis):
        return None
    y = like(x)
    k = last_dim(x)
    m = size(x) // k if k > 0 else 0
    a, b = data(x), data(y)
    with nogil:
        f[t](a, b, m, k)
    return y


cdef object rows_backward(object dy, object y, int axis, const dl_rows_backward *f):
    cdef int t = real(dy)
    cdef long m, k
    cdef void *a
    cdef void *b
    cdef void *c
    if t < 0 or real(y) != t or not same(dy, y) or not is_last(y, axis):
        return None
    dx = like(dy)
    k = last_dim(y)
    m = size(y) // k if k > 0 else 0
    a, b, c = data(dy), data(y), data(dx)
    with nogil:
        f[t](a, b, c, m, k)
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
    cdef int t, status
    cdef long m, k
    if not fit_for_loss(logits, labels, weights):
        return None
    t, m, k = real(logits), dim(logits, 0), dim(logits, 1)
    loss, p = row_like(logits, m), like(logits)
    cdef void *a = data(logits)
    cdef void *b = data(labels)
    cdef void *w = data(weights)
    cdef void *c = data(loss)
    cdef void *d = data(p)
    with nogil:
        status = T.cross_entropy_forward[t](a, <const int64_t *>b, w, smoothing, c, d, m, k)
    return None if status == DL_BAD_LABEL else (loss, p)


def cross_entropy_backward(dloss, p, labels, weights, double smoothing):
    cdef int t, status
    cdef long m, k
    if not fit_for_loss(p, labels, weights) or not is_row(dloss, real(p), dim(p, 0)):
        return None
    t, m, k = real(p), dim(p, 0), dim(p, 1)
    dx = like(p)
    cdef void *a = data(dloss)
    cdef void *b = data(p)
    cdef void *c = data(labels)
    cdef void *w = data(weights)
    cdef void *d = data(dx)
    with nogil:
        status = T.cross_entropy_backward[t](a, b, <const int64_t *>c, w, smoothing, d, m, k)
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
    cdef void *px = data(x)
    cdef void *py = data(y)
    with nogil:
        status = T.sum[t](px, py, a, b, c)
    check(status)
    return y


def sum_of_squares(x):
    cdef int t = real(x)
    cdef double total
    if t < 0:
        return None
    cdef long n = size(x)
    cdef void *a = data(x)
    with nogil:
        total = T.sum_of_squares[t](a, n)
    return total


def all_finite(x):
    cdef int t = real(x), finite
    if t < 0:
        return None
    cdef long n = size(x)
    cdef void *a = data(x)
    with nogil:
        finite = T.all_finite[t](a, n)
    return finite != 0


# -- pooling -----------------------------------------------------------------------------------------------------------------

cdef bint pooling(dl_pool *g, long n, long h, long w, long c, kernel, stride, padding) except -1:
    """Fills g; False where there is no such pooling."""
    cdef long bottom, right
    g.n, g.h, g.w, g.c = n, h, w, c
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


def max_pool2d_forward(x, kernel, stride, padding):
    cdef dl_pool g
    if (not is_image(x) or not pooling(&g, dim(x, 0), dim(x, 1), dim(x, 2), dim(x, 3), kernel, stride, padding)
            or g.r * g.s > 256):
        return None
    cdef int t = real(x)
    y, where = image_like(x, g.oh, g.ow, cnp.PyArray_TYPE(<cnp.ndarray>x)), image_like(x, g.oh, g.ow, cnp.NPY_UINT8)
    cdef void *a = data(x)
    cdef void *b = data(y)
    cdef void *c = data(where)
    with nogil:
        T.max_pool2d_forward[t](a, b, <uint8_t *>c, &g)
    return y, where


def max_pool2d_backward(dy, where, size, kernel, stride, padding):
    cdef dl_pool g
    if (not is_image(dy) or not pooling(&g, dim(dy, 0), size[0], size[1], dim(dy, 3), kernel, stride, padding)
            or not has_shape(dy, g.n, g.oh, g.ow, g.c) or not cnp.PyArray_Check(where)
            or not PyArray_ISCARRAY_RO(<cnp.ndarray>where) or cnp.PyArray_TYPE(<cnp.ndarray>where) != cnp.NPY_UINT8
            or cnp.PyArray_NDIM(<cnp.ndarray>where) != 4 or not has_shape(where, g.n, g.oh, g.ow, g.c)):
        return None
    cdef int t = real(dy)
    dx = image_like(dy, g.h, g.w, cnp.PyArray_TYPE(<cnp.ndarray>dy))
    cdef void *a = data(dy)
    cdef void *b = data(where)
    cdef void *c = data(dx)
    with nogil:
        T.max_pool2d_backward[t](a, <const uint8_t *>b, c, &g)
    return dx


def avg_pool2d_forward(x, kernel, stride, padding):
    cdef dl_pool g
    if not is_image(x) or not pooling(&g, dim(x, 0), dim(x, 1), dim(x, 2), dim(x, 3), kernel, stride, padding):
        return None
    cdef int t = real(x)
    y = image_like(x, g.oh, g.ow, cnp.PyArray_TYPE(<cnp.ndarray>x))
    cdef void *a = data(x)
    cdef void *b = data(y)
    with nogil:
        T.avg_pool2d_forward[t](a, b, &g)
    return y


def avg_pool2d_backward(dy, size, kernel, stride, padding):
    cdef dl_pool g
    if (not is_image(dy) or not pooling(&g, dim(dy, 0), size[0], size[1], dim(dy, 3), kernel, stride, padding)
            or not has_shape(dy, g.n, g.oh, g.ow, g.c)):
        return None
    cdef int t = real(dy)
    dx = image_like(dy, g.h, g.w, cnp.PyArray_TYPE(<cnp.ndarray>dy))
    cdef void *a = data(dy)
    cdef void *b = data(dx)
    with nogil:
        T.avg_pool2d_backward[t](a, b, &g)
    return dx


cdef bint adaptive(dl_pool *g, long n, long h, long w, long c, long oh, long ow) noexcept:
    g.n, g.h, g.w, g.c, g.oh, g.ow = n, h, w, c, oh, ow
    g.r = g.s = g.stride_h = g.stride_w = g.top = g.left = 0
    return h > 0 and w > 0 and oh > 0 and ow > 0


def adaptive_avg_pool2d_forward(x, size):
    cdef dl_pool g
    cdef int t, status
    if not is_image(x) or not adaptive(&g, dim(x, 0), dim(x, 1), dim(x, 2), dim(x, 3), size[0], size[1]):
        return None
    t = real(x)
    y = image_like(x, g.oh, g.ow, cnp.PyArray_TYPE(<cnp.ndarray>x))
    cdef void *a = data(x)
    cdef void *b = data(y)
    with nogil:
        status = T.adaptive_avg_pool2d_forward[t](a, b, &g)
    check(status)
    return y


def adaptive_avg_pool2d_backward(dy, size):
    cdef dl_pool g
    if not is_image(dy) or not adaptive(&g, dim(dy, 0), size[0], size[1], dim(dy, 3), dim(dy, 1), dim(dy, 2)):
        return None
    cdef int t = real(dy)
    dx = image_like(dy, g.h, g.w, cnp.PyArray_TYPE(<cnp.ndarray>dy))
    cdef void *a = data(dy)
    cdef void *b = data(dx)
    with nogil:
        T.adaptive_avg_pool2d_backward[t](a, b, &g)
    return dx


# -- normalisation ----------------------------------------------------------------------------------------------------------

cdef inline int relu_or_none(object activation) noexcept:
    """1, 0, or -1 for an activation that is not fused."""
    return 0 if activation is None else 1 if activation == "relu" else -1


cdef inline bint fit_for_norm(object x) noexcept:
    return real(x) >= 0 and cnp.PyArray_NDIM(<cnp.ndarray>x) == 2 and dim(x, 0) > 0


def batch_norm_forward(x, gamma, beta, double eps, activation):
    cdef int t, relu = relu_or_none(activation), status
    cdef long m, c
    if relu < 0 or not fit_for_norm(x):
        return None
    t, m, c = real(x), dim(x, 0), dim(x, 1)
    if not is_row(gamma, t, c) or not is_row(beta, t, c):
        return None
    y, mean, inv_std = like(x), row_like(x, c), row_like(x, c)
    cdef void *px = data(x)
    cdef void *pg = data(gamma)
    cdef void *pb = data(beta)
    cdef void *py = data(y)
    cdef void *pm = data(mean)
    cdef void *pi = data(inv_std)
    with nogil:
        status = T.batch_norm_forward[t](px, pg, pb, eps, relu, py, pm, pi, m, c)
    check(status)
    return y, mean, inv_std


def batch_norm_backward(dy, x, y, gamma, mean, inv_std, activation):
    cdef int t, relu = relu_or_none(activation), status
    cdef long m, c
    if relu < 0 or not fit_for_norm(x):
        return None
    t, m, c = real(x), dim(x, 0), dim(x, 1)
    if real(dy) != t or not same(dy, x) or (relu and (real(y) != t or not same(y, x))):
        return None
    if not is_row(gamma, t, c) or not is_row(mean, t, c) or not is_row(inv_std, t, c):
        return None
    dx, dgamma, dbeta = like(x), row_like(x, c), row_like(x, c)
    cdef void *pdy = data(dy)
    cdef void *px = data(x)
    cdef void *py = data(y) if relu else px
    cdef void *pg = data(gamma)
    cdef void *pm = data(mean)
    cdef void *pi = data(inv_std)
    cdef void *pdx = data(dx)
    cdef void *pdg = data(dgamma)
    cdef void *pdb = data(dbeta)
    with nogil:
        status = T.batch_norm_backward[t](pdy, px, py, pg, pm, pi, relu, pdx, pdg, pdb, m, c)
    check(status)
    return dx, dgamma, dbeta


def batch_norm_inference(x, gamma, beta, mean, var, double eps, activation):
    cdef int t, relu = relu_or_none(activation), status
    cdef long m, c
    if relu < 0 or not fit_for_norm(x):
        return None
    t, m, c = real(x), dim(x, 0), dim(x, 1)
    if not is_row(gamma, t, c) or not is_row(beta, t, c) or not is_row(mean, t, c) or not is_row(var, t, c):
        return None
    y = like(x)
    cdef void *px = data(x)
    cdef void *pg = data(gamma)
    cdef void *pb = data(beta)
    cdef void *pm = data(mean)
    cdef void *pv = data(var)
    cdef void *py = data(y)
    with nogil:
        status = T.batch_norm_inference[t](px, pg, pb, pm, pv, eps, relu, py, m, c)
    check(status)
    return y


# -- resampling --------------------------------------------------------------------------------------------------------------

def upsample_nearest_forward(x, scale):
    cdef long down, across, n, h, w, c
    down, across = scale
    if not is_image(x) or down < 1 or across < 1:
        return None
    cdef int t = real(x)
    n, h, w, c = dim(x, 0), dim(x, 1), dim(x, 2), dim(x, 3)
    y = image_like(x, h * down, w * across, cnp.PyArray_TYPE(<cnp.ndarray>x))
    cdef void *a = data(x)
    cdef void *b = data(y)
    with nogil:
        T.upsample_nearest_forward[t](a, b, n, h, w, c, h * down, w * across, 0)
    return y


def upsample_nearest_backward(dy, scale):
    cdef long down, across, n, h, w, c
    down, across = scale
    if not is_image(dy) or down < 1 or across < 1 or dim(dy, 1) % down or dim(dy, 2) % across:
        return None
    cdef int t = real(dy)
    n, h, w, c = dim(dy, 0), dim(dy, 1) // down, dim(dy, 2) // across, dim(dy, 3)
    dx = image_like(dy, h, w, cnp.PyArray_TYPE(<cnp.ndarray>dy))
    cdef void *a = data(dy)
    cdef void *b = data(dx)
    with nogil:
        T.upsample_nearest_backward[t](a, b, n, h, w, c, h * down, w * across, 0)
    return dx


def upsample_bilinear_forward(x, size, bint align_corners):
    cdef long n, h, w, c, oh, ow
    cdef int status, t
    oh, ow = size
    if not is_image(x) or oh < 1 or ow < 1 or dim(x, 1) < 1 or dim(x, 2) < 1:
        return None
    t, n, h, w, c = real(x), dim(x, 0), dim(x, 1), dim(x, 2), dim(x, 3)
    y = image_like(x, oh, ow, cnp.PyArray_TYPE(<cnp.ndarray>x))
    cdef void *a = data(x)
    cdef void *b = data(y)
    with nogil:
        status = T.upsample_bilinear_forward[t](a, b, n, h, w, c, oh, ow, align_corners)
    check(status)
    return y


def upsample_bilinear_backward(dy, size, bint align_corners):
    cdef long n, h, w, c, oh, ow
    cdef int status, t
    h, w = size
    if not is_image(dy) or h < 1 or w < 1 or dim(dy, 1) < 1 or dim(dy, 2) < 1:
        return None
    t, n, oh, ow, c = real(dy), dim(dy, 0), dim(dy, 1), dim(dy, 2), dim(dy, 3)
    dx = image_like(dy, h, w, cnp.PyArray_TYPE(<cnp.ndarray>dy))
    cdef void *a = data(dy)
    cdef void *b = data(dx)
    with nogil:
        status = T.upsample_bilinear_backward[t](a, b, n, h, w, c, oh, ow, align_corners)
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
    cdef int t = real(x)
    cdef long n = size(x)
    cdef void *a = data(x)
    cdef void *b = data(y)
    with nogil:
        T.add_into[t](a, b, n)
    return True


def scale_into(x, double factor):
    cdef int t = real(x)
    if t < 0 or not in_place(x, t):
        return None
    cdef long n = size(x)
    cdef void *a = data(x)
    with nogil:
        T.scale_into[t](a, factor, n)
    return True


def sgd_step(p, g, velocity, double lr, double momentum, bint nesterov, double weight_decay):
    if not fit_for_step(p, g, velocity, None):
        return None
    cdef int t = real(p)
    cdef long n = size(p)
    cdef void *pp = data(p)
    cdef void *pg = data(g)
    cdef void *pv = data(velocity)
    with nogil:
        T.sgd_step[t](pp, pg, pv, lr, momentum, nesterov, weight_decay, n)
    return True


def rmsprop_step(p, g, square, velocity, double lr, double rho, double eps, double momentum, double weight_decay):
    if square is None or not fit_for_step(p, g, square, velocity):
        return None
    cdef int t = real(p)
    cdef long n = size(p)
    cdef void *pp = data(p)
    cdef void *pg = data(g)
    cdef void *ps = data(square)
    cdef void *pv = data(velocity)
    with nogil:
        T.rmsprop_step[t](pp, pg, ps, pv, lr, rho, eps, momentum, weight_decay, n)
    return True


def adam_step(p, g, m, v, double lr, double beta1, double beta2, double eps, double weight_decay, bint decoupled,
              long step):
    if m is None or v is None or not fit_for_step(p, g, m, v):
        return None
    cdef int t = real(p)
    cdef long n = size(p)
    cdef void *pp = data(p)
    cdef void *pg = data(g)
    cdef void *pm = data(m)
    cdef void *pv = data(v)
    with nogil:
        T.adam_step[t](pp, pg, pm, pv, lr, beta1, beta2, eps, weight_decay, decoupled, step, n)
    return True
