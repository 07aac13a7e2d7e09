"""Products and convolutions on the CPU: checks, releases the GIL, calls csrc/matrix/.

Every function returns a new array, or a str that says why it does not take the call. Wrong shapes raise ValueError: the
operations check them first, so this is the last guard before the memory is touched. An array that is not C-contiguous
and aligned is copied once, except that a transposed matrix is taken as it lies.
"""

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t
from libc.stdlib cimport free, malloc

cdef extern from "dl_array.h":
    object dl_new_array(int ndim, cnp.npy_intp *shape, int type)
    int dl_array_import() except -1

cnp.import_array()
dl_array_import()

cdef extern from "dl_memory.h":
    void dl_keep_memory()

cdef extern from "dl_isa.h":
    int dl_isa_choice()
    int dl_isa_cpu()
    const char *dl_isa_name(int isa)
    const char *dl_isa_request_error()

cdef extern from "dl_threads.h":
    int dl_max_threads() nogil
    void dl_set_threads(int n)
    int dl_has_openmp()

cdef extern from "dl_matrix.h":
    enum dl_algorithm:
        DL_AUTO
        DL_DIRECT
        DL_WINOGRAD
        DL_WINOGRAD2
    struct dl_conv2d:
        ptrdiff_t N, H, W, C, K, R, S, OH, OW
        ptrdiff_t stride_h, stride_w, pad_top, pad_left, dil_h, dil_w, groups
        dl_algorithm algorithm
    int dl_matmul_f32(const float *, const float *, const float *, float *, ptrdiff_t, ptrdiff_t, ptrdiff_t, int, int, int) nogil
    int dl_matmul_f64(const double *, const double *, const double *, double *, ptrdiff_t, ptrdiff_t, ptrdiff_t, int, int, int) nogil
    int dl_matmul_batch_f32(const float *, const float *, float *, ptrdiff_t, const ptrdiff_t *, const ptrdiff_t *,
                            ptrdiff_t, ptrdiff_t, ptrdiff_t, int, int) nogil
    int dl_matmul_batch_f64(const double *, const double *, double *, ptrdiff_t, const ptrdiff_t *, const ptrdiff_t *,
                            ptrdiff_t, ptrdiff_t, ptrdiff_t, int, int) nogil
    int dl_conv2d_forward_f32(dl_conv2d *, const float *, const float *, const float *, float *, int) nogil
    int dl_conv2d_forward_f64(dl_conv2d *, const double *, const double *, const double *, double *, int) nogil
    int dl_conv2d_backward_input_f32(dl_conv2d *, const float *, const float *, float *) nogil
    int dl_conv2d_backward_input_f64(dl_conv2d *, const double *, const double *, double *) nogil
    int dl_conv2d_backward_weight_f32(dl_conv2d *, const float *, const float *, float *) nogil
    int dl_conv2d_backward_weight_f64(dl_conv2d *, const double *, const double *, double *) nogil
    const char *dl_conv2d_algorithm(dl_conv2d *, int, size_t)
    void dl_winograd_transform(int, ptrdiff_t, const float *, float *, ptrdiff_t)
    void dl_im2col_f32(dl_conv2d *, const float *, float *) nogil
    void dl_im2col_f64(dl_conv2d *, const double *, double *) nogil
    void dl_col2im_f32(dl_conv2d *, const float *, float *) nogil
    void dl_col2im_f64(dl_conv2d *, const double *, double *) nogil

cdef enum:
    FLAGS = cnp.NPY_ARRAY_C_CONTIGUOUS | cnp.NPY_ARRAY_ALIGNED | cnp.NPY_ARRAY_NOTSWAPPED

DECLINE = "only float32 and float64 arrays of one dtype"


def isa_name() -> str:
    """The instruction set in use: baseline, avx2 or avx512."""
    return dl_isa_name(dl_isa_choice()).decode()


def isa_cpu() -> str:
    """The best instruction set of this CPU that this build contains."""
    return dl_isa_name(dl_isa_cpu()).decode()


def isa_request_error():
    """None, or why DLKIT_ISA was not followed."""
    cdef const char *why = dl_isa_request_error()
    return None if why is NULL else why.decode()


def has_openmp() -> bool:
    return bool(dl_has_openmp())


def max_threads() -> int:
    return dl_max_threads()


def set_num_threads(int n) -> None:
    if n < 1:
        raise ValueError(f"threads (={n}) must be at least 1")
    dl_set_threads(n)


cdef inline int kind(object x) except -1:
    """NPY_FLOAT, NPY_DOUBLE, or 0."""
    if not isinstance(x, cnp.ndarray):
        return 0
    cdef int t = cnp.PyArray_TYPE(<cnp.ndarray>x)
    if (t != cnp.NPY_FLOAT and t != cnp.NPY_DOUBLE) or cnp.PyArray_ISBYTESWAPPED(<cnp.ndarray>x):
        return 0
    return t


cdef inline cnp.ndarray ready(object x):
    """x itself, or one copy of it that C can read."""
    if cnp.PyArray_CHKFLAGS(<cnp.ndarray>x, FLAGS):
        return <cnp.ndarray>x
    return cnp.PyArray_FROM_OF(x, FLAGS)


cdef cnp.ndarray result(int ndim, cnp.npy_intp *size, int t, out):
    """A new array; or `out`, which only tests give, to see what is written beside it."""
    if out is None:
        return dl_new_array(ndim, size, t)
    if kind(out) != t or not cnp.PyArray_ISCARRAY(out) or cnp.PyArray_NDIM(out) != ndim:
        raise ValueError("out: wrong dtype, layout or number of axes")
    for i in range(ndim):
        if cnp.PyArray_DIM(out, i) != size[i]:
            raise ValueError("out: wrong shape")
    return out


cdef inline int activation_code(object name) except -1:
    if name is None:
        return 0
    if name == "relu":
        return 1
    if name == "tanh":
        return 2
    if name == "sigmoid":
        return 3
    raise ValueError(f"activation (={name!r}) is none of None, 'relu', 'tanh', 'sigmoid'")


cdef inline bint turned(cnp.ndarray x):
    """A matrix that lies in memory column by column."""
    return (cnp.PyArray_NDIM(x) == 2 and not cnp.PyArray_IS_C_CONTIGUOUS(x) and cnp.PyArray_IS_F_CONTIGUOUS(x)
            and cnp.PyArray_ISALIGNED(x))


def shape_error(what, *arrays):
    return ValueError(f"{what}: shapes " + ", ".join(str(x.shape) for x in arrays))


cdef cnp.ndarray product(cnp.ndarray a, cnp.ndarray b, cnp.ndarray bias, int t, bint ta, bint tb, int activation):
    """2-D a and b, checked here; bias may be None."""
    if turned(a):
        a = a.T
        ta = not ta
    if turned(b):
        b = b.T
        tb = not tb
    a, b = ready(a), ready(b)
    cdef cnp.npy_intp *da = cnp.PyArray_DIMS(a)
    cdef cnp.npy_intp *db = cnp.PyArray_DIMS(b)
    cdef ptrdiff_t M = da[1 if ta else 0], I = da[0 if ta else 1], O = db[0 if tb else 1]
    if db[1 if tb else 0] != I:
        raise shape_error("product", a, b)
    cdef cnp.npy_intp size[2]
    size[0], size[1] = M, O
    cdef cnp.ndarray y = dl_new_array(2, size, t)
    cdef void *pa = cnp.PyArray_DATA(a)
    cdef void *pb = cnp.PyArray_DATA(b)
    cdef void *py = cnp.PyArray_DATA(y)
    cdef void *pbias = NULL
    if bias is not None:
        bias = ready(bias)
        if cnp.PyArray_NDIM(bias) != 1 or cnp.PyArray_DIM(bias, 0) != O:
            raise shape_error("bias", bias, y)
        pbias = cnp.PyArray_DATA(bias)
    cdef int failed
    with nogil:
        if t == cnp.NPY_FLOAT:
            failed = dl_matmul_f32(<float *>pa, <float *>pb, <float *>pbias, <float *>py, M, I, O, ta, tb, activation)
        else:
            failed = dl_matmul_f64(<double *>pa, <double *>pb, <double *>pbias, <double *>py, M, I, O, ta, tb, activation)
    if failed:
        raise MemoryError
    return y


def matmul(a, b, bint transpose_a=False, bint transpose_b=False):
    cdef int t = kind(a)
    if t == 0 or kind(b) != t:
        return DECLINE
    cdef int na = cnp.PyArray_NDIM(<cnp.ndarray>a), nb = cnp.PyArray_NDIM(<cnp.ndarray>b)
    if na < 2 or nb < 2:
        raise shape_error("matmul needs matrices", a, b)
    if na == 2 and nb == 2:
        return product(a, b, None, t, transpose_a, transpose_b, 0)
    return batched(a, b, t, transpose_a, transpose_b)


cdef batched(cnp.ndarray a, cnp.ndarray b, int t, bint ta, bint tb):
    a, b = ready(a), ready(b)
    cdef int na = cnp.PyArray_NDIM(a), nb = cnp.PyArray_NDIM(b), n = na if na > nb else nb
    cdef cnp.npy_intp *da = cnp.PyArray_DIMS(a)
    cdef cnp.npy_intp *db = cnp.PyArray_DIMS(b)
    cdef ptrdiff_t M = da[na - 1 if ta else na - 2], I = da[na - 2 if ta else na - 1]
    cdef ptrdiff_t O = db[nb - 2 if tb else nb - 1]
    if db[nb - 1 if tb else nb - 2] != I:
        raise shape_error("product", a, b)
    if nb == 2 and not ta and cnp.PyArray_SIZE(a) > 0:  # one tall product
        return product(a.reshape(-1, I), b, None, t, False, tb, 0).reshape((<object>a).shape[:na - 1] + (O,))
    cdef cnp.npy_intp size[64]
    cdef ptrdiff_t count = 1, i, rest, at, step_a, step_b, index
    cdef ptrdiff_t ea, eb
    cdef int d
    for d in range(n - 2):
        ea = da[d - (n - na)] if d >= n - na else 1
        eb = db[d - (n - nb)] if d >= n - nb else 1
        if ea != eb and ea != 1 and eb != 1:
            raise shape_error("leading axes do not broadcast", a, b)
        size[d] = eb if ea == 1 else ea
        count *= size[d]
    size[n - 2], size[n - 1] = M, O
    cdef cnp.ndarray out = dl_new_array(n, size, t)
    if cnp.PyArray_SIZE(out) == 0:
        return out
    cdef ptrdiff_t *offsets = <ptrdiff_t *>malloc(2 * count * sizeof(ptrdiff_t))
    if offsets is NULL:
        raise MemoryError
    for i in range(count):
        rest, step_a, step_b = i, M * I, I * O
        offsets[i] = offsets[count + i] = 0
        for d in range(n - 3, -1, -1):
            index = rest % size[d]
            rest //= size[d]
            if d >= n - na:
                at = da[d - (n - na)]
                if at != 1:
                    offsets[i] += index * step_a
                step_a *= at
            if d >= n - nb:
                at = db[d - (n - nb)]
                if at != 1:
                    offsets[count + i] += index * step_b
                step_b *= at
    cdef void *pa = cnp.PyArray_DATA(a)
    cdef void *pb = cnp.PyArray_DATA(b)
    cdef void *py = cnp.PyArray_DATA(out)
    cdef int failed
    with nogil:
        if t == cnp.NPY_FLOAT:
            failed = dl_matmul_batch_f32(<float *>pa, <float *>pb, <float *>py, count, offsets, offsets + count, M, I, O, ta, tb)
        else:
            failed = dl_matmul_batch_f64(<double *>pa, <double *>pb, <double *>py, count, offsets, offsets + count, M, I, O, ta, tb)
    free(offsets)
    if failed:
        raise MemoryError
    return out


def linear_forward(x, w, b, activation):
    cdef int t = kind(x)
    if t == 0 or kind(w) != t or (b is not None and kind(b) != t):
        return DECLINE
    if cnp.PyArray_NDIM(<cnp.ndarray>x) != 2 or cnp.PyArray_NDIM(<cnp.ndarray>w) != 2:
        raise shape_error("linear needs matrices", x, w)
    return product(x, w, b, t, False, False, activation_code(activation))


cdef dl_algorithm algorithm_code(str name) except *:
    if name == "auto":
        return DL_AUTO
    if name == "direct":
        return DL_DIRECT
    if name == "winograd":
        return DL_WINOGRAD
    if name == "winograd2":
        return DL_WINOGRAD2
    raise ValueError(f"algorithm (={name!r}) is none of 'auto', 'direct', 'winograd', 'winograd2'")


cdef int geometry(dl_conv2d *s, size, kernel, stride, padding, dilation, ptrdiff_t groups, ptrdiff_t C, ptrdiff_t K,
                  str algorithm) except -1:
    """Fills everything but N; OH and OW follow from the rest."""
    s.algorithm = algorithm_code(algorithm)
    cdef ptrdiff_t bottom, right
    s.H, s.W = size
    s.R, s.S = kernel
    s.stride_h, s.stride_w = stride
    s.pad_top, bottom, s.pad_left, right = padding
    s.dil_h, s.dil_w = dilation
    s.C, s.K, s.groups = C, K, groups
    if s.stride_h < 1 or s.stride_w < 1 or s.dil_h < 1 or s.dil_w < 1 or s.R < 1 or s.S < 1 or groups < 1:
        raise ValueError(f"kernel {kernel}, stride {stride}, dilation {dilation} and groups (={groups}) must be at least 1")
    if s.pad_top < 0 or bottom < 0 or s.pad_left < 0 or right < 0:
        raise ValueError(f"padding {padding} must not be negative")
    for value in (s.H, s.W, s.R, s.S, s.stride_h, s.stride_w, s.pad_top, bottom, s.pad_left, right, s.dil_h, s.dil_w):
        if value > 0x7fffffff:
            raise ValueError(f"size {value} is too large")
    if C % groups or K % groups:
        raise ValueError(f"channels (={C} in, {K} out) must be divisible by groups (={groups})")
    cdef ptrdiff_t room_h = s.H + s.pad_top + bottom - s.dil_h * (s.R - 1) - 1
    cdef ptrdiff_t room_w = s.W + s.pad_left + right - s.dil_w * (s.S - 1) - 1
    if room_h < 0 or room_w < 0:
        raise ValueError(f"the kernel {kernel} with dilation {dilation} is larger than the padded image {size} with {padding}")
    s.OH, s.OW = room_h // s.stride_h + 1, room_w // s.stride_w + 1
    if s.algorithm > DL_DIRECT and not (s.R == s.S == 3 and s.stride_h == s.stride_w == s.dil_h == s.dil_w == s.groups == 1):
        raise ValueError(f"algorithm {algorithm!r} must have a 3×3 kernel, stride 1, dilation 1 and one group")
    return 0


def conv2d_algorithm(x_shape, w_shape, stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1, dtype="float32",
                     algorithm="auto"):
    """How a convolution is computed here: three names, of the forward pass and of the gradients of input and weights, each
    "winograd", "winograd2", "direct", "product" (1×1: a product of matrices) or "depthwise"."""
    cdef dl_conv2d s
    cdef int direction
    cdef size_t size = cnp.dtype(dtype).itemsize
    geometry(&s, x_shape[1:3], w_shape[:2], stride, padding, dilation, groups, x_shape[3], w_shape[3], algorithm)
    s.N = x_shape[0]
    return tuple([dl_conv2d_algorithm(&s, direction, size).decode() for direction in range(3)])


def winograd_transform(name, ptrdiff_t m, x):
    """A 2-D transform of F(m×m, 3×3), m 2 or 4, of x [rows, columns, channels]: for tests. name: "input", "weight", "output",
    "gradient" or "weight_gradient"; channels a multiple of 16."""
    cdef int code = ("input", "weight", "output", "gradient", "weight_gradient").index(name)
    before, after = ((m + 2, m + 2), (3, m + 2), (m + 2, m), (m, m + 2), (m + 2, 3))[code]
    shape = (before, before, x.shape[2])
    if kind(x) != cnp.NPY_FLOAT or x.shape != shape or x.shape[2] % 16 or m not in (2, 4):
        raise ValueError(f"winograd_transform: x must be float32 of shape {shape}, its channels a multiple of 16, m (={m}) 2 or 4")
    cdef cnp.ndarray a = ready(x)
    cdef cnp.npy_intp size[3]
    size[0], size[1], size[2] = after, after, shape[2]
    cdef cnp.ndarray y = cnp.PyArray_EMPTY(3, size, cnp.NPY_FLOAT, 0)
    dl_winograd_transform(code, m, <float *>cnp.PyArray_DATA(a), <float *>cnp.PyArray_DATA(y), size[2])
    return y


def conv2d_forward(x, w, b, stride, padding, dilation, ptrdiff_t groups, activation, str algorithm="auto", out=None):
    cdef int t = kind(x), code = activation_code(activation), failed
    if t == 0 or kind(w) != t or (b is not None and kind(b) != t):
        return DECLINE
    if cnp.PyArray_NDIM(<cnp.ndarray>x) != 4 or cnp.PyArray_NDIM(<cnp.ndarray>w) != 4:
        raise shape_error("conv2d needs 4 axes", x, w)
    cdef cnp.ndarray ax = ready(x), aw = ready(w), ab
    cdef cnp.npy_intp *dx = cnp.PyArray_DIMS(ax)
    cdef cnp.npy_intp *dw = cnp.PyArray_DIMS(aw)
    cdef dl_conv2d s
    geometry(&s, (dx[1], dx[2]), (dw[0], dw[1]), stride, padding, dilation, groups, dx[3], dw[3], algorithm)
    s.N = dx[0]
    if dw[2] * groups != s.C:
        raise shape_error(f"conv2d with groups (={groups})", x, w)
    cdef cnp.npy_intp size[4]
    size[0], size[1], size[2], size[3] = s.N, s.OH, s.OW, s.K
    cdef cnp.ndarray y = result(4, size, t, out)
    cdef void *px = cnp.PyArray_DATA(ax)
    cdef void *pw = cnp.PyArray_DATA(aw)
    cdef void *pb = NULL
    cdef void *py = cnp.PyArray_DATA(y)
    if b is not None:
        ab = ready(b)
        if cnp.PyArray_NDIM(ab) != 1 or cnp.PyArray_DIM(ab, 0) != s.K:
            raise shape_error("bias", b, w)
        pb = cnp.PyArray_DATA(ab)
    with nogil:
        if t == cnp.NPY_FLOAT:
            failed = dl_conv2d_forward_f32(&s, <float *>px, <float *>pw, <float *>pb, <float *>py, code)
        else:
            failed = dl_conv2d_forward_f64(&s, <double *>px, <double *>pw, <double *>pb, <double *>py, code)
    if failed:
        raise MemoryError
    return y


def conv2d_backward_input(dy, w, size, stride, padding, dilation, ptrdiff_t groups, str algorithm="auto", out=None):
    cdef int t = kind(dy), failed
    if t == 0 or kind(w) != t:
        return DECLINE
    if cnp.PyArray_NDIM(<cnp.ndarray>dy) != 4 or cnp.PyArray_NDIM(<cnp.ndarray>w) != 4:
        raise shape_error("conv2d needs 4 axes", dy, w)
    cdef cnp.ndarray ay = ready(dy), aw = ready(w)
    cdef cnp.npy_intp *d = cnp.PyArray_DIMS(ay)
    cdef cnp.npy_intp *dw = cnp.PyArray_DIMS(aw)
    cdef dl_conv2d s
    geometry(&s, size, (dw[0], dw[1]), stride, padding, dilation, groups, dw[2] * groups, dw[3], algorithm)
    s.N = d[0]
    if d[1] != s.OH or d[2] != s.OW or d[3] != s.K:
        raise shape_error(f"conv2d_backward_input of size {size}", dy, w)
    cdef cnp.npy_intp shape[4]
    shape[0], shape[1], shape[2], shape[3] = s.N, s.H, s.W, s.C
    cdef cnp.ndarray dx = result(4, shape, t, out)
    cdef void *py = cnp.PyArray_DATA(ay)
    cdef void *pw = cnp.PyArray_DATA(aw)
    cdef void *px = cnp.PyArray_DATA(dx)
    with nogil:
        if t == cnp.NPY_FLOAT:
            failed = dl_conv2d_backward_input_f32(&s, <float *>py, <float *>pw, <float *>px)
        else:
            failed = dl_conv2d_backward_input_f64(&s, <double *>py, <double *>pw, <double *>px)
    if failed:
        raise MemoryError
    return dx


def conv2d_backward_weight(x, dy, kernel, stride, padding, dilation, ptrdiff_t groups, str algorithm="auto", out=None):
    cdef int t = kind(x), failed
    if t == 0 or kind(dy) != t:
        return DECLINE
    if cnp.PyArray_NDIM(<cnp.ndarray>x) != 4 or cnp.PyArray_NDIM(<cnp.ndarray>dy) != 4:
        raise shape_error("conv2d needs 4 axes", x, dy)
    cdef cnp.ndarray ax = ready(x), ay = ready(dy)
    cdef cnp.npy_intp *d = cnp.PyArray_DIMS(ax)
    cdef cnp.npy_intp *e = cnp.PyArray_DIMS(ay)
    cdef dl_conv2d s
    geometry(&s, (d[1], d[2]), kernel, stride, padding, dilation, groups, d[3], e[3], algorithm)
    s.N = d[0]
    if e[0] != s.N or e[1] != s.OH or e[2] != s.OW:
        raise shape_error(f"conv2d_backward_weight of kernel {kernel}", x, dy)
    cdef cnp.npy_intp shape[4]
    shape[0], shape[1], shape[2], shape[3] = s.R, s.S, s.C // groups, s.K
    cdef cnp.ndarray dw = result(4, shape, t, out)
    cdef void *px = cnp.PyArray_DATA(ax)
    cdef void *py = cnp.PyArray_DATA(ay)
    cdef void *pw = cnp.PyArray_DATA(dw)
    with nogil:
        if t == cnp.NPY_FLOAT:
            failed = dl_conv2d_backward_weight_f32(&s, <float *>px, <float *>py, <float *>pw)
        else:
            failed = dl_conv2d_backward_weight_f64(&s, <double *>px, <double *>py, <double *>pw)
    if failed:
        raise MemoryError
    return dw


def im2col(x, kernel, stride, padding, dilation, out=None):
    cdef int t = kind(x)
    if t == 0:
        return DECLINE
    if cnp.PyArray_NDIM(<cnp.ndarray>x) != 4:
        raise shape_error("im2col needs 4 axes", x)
    cdef cnp.ndarray ax = ready(x)
    cdef cnp.npy_intp *d = cnp.PyArray_DIMS(ax)
    cdef dl_conv2d s
    geometry(&s, (d[1], d[2]), kernel, stride, padding, dilation, 1, d[3], 1, "auto")
    s.N = d[0]
    cdef cnp.npy_intp size[4]
    size[0], size[1], size[2], size[3] = s.N, s.OH, s.OW, s.R * s.S * s.C
    cdef cnp.ndarray columns = result(4, size, t, out)
    cdef void *px = cnp.PyArray_DATA(ax)
    cdef void *pc = cnp.PyArray_DATA(columns)
    with nogil:
        if t == cnp.NPY_FLOAT:
            dl_im2col_f32(&s, <float *>px, <float *>pc)
        else:
            dl_im2col_f64(&s, <double *>px, <double *>pc)
    return columns


def col2im(columns, size, kernel, stride, padding, dilation, out=None):
    cdef int t = kind(columns)
    if t == 0:
        return DECLINE
    if cnp.PyArray_NDIM(<cnp.ndarray>columns) != 4:
        raise shape_error("col2im needs 4 axes", columns)
    cdef cnp.ndarray ac = ready(columns)
    cdef cnp.npy_intp *d = cnp.PyArray_DIMS(ac)
    cdef dl_conv2d s
    geometry(&s, size, kernel, stride, padding, dilation, 1, 1, 1, "auto")
    s.N, s.C = d[0], d[3] // (s.R * s.S)
    if d[1] != s.OH or d[2] != s.OW or d[3] != s.R * s.S * s.C:
        raise shape_error(f"col2im of size {size} and kernel {kernel}", columns)
    cdef cnp.npy_intp shape[4]
    shape[0], shape[1], shape[2], shape[3] = s.N, s.H, s.W, s.C
    cdef cnp.ndarray x = result(4, shape, t, out)
    cdef void *pc = cnp.PyArray_DATA(ac)
    cdef void *px = cnp.PyArray_DATA(x)
    with nogil:
        if t == cnp.NPY_FLOAT:
            dl_col2im_f32(&s, <float *>pc, <float *>px)
        else:
            dl_col2im_f64(&s, <double *>pc, <double *>px)
    return x


def keep_memory():
    """Tells the C library to keep freed blocks instead of giving their pages back: see dl_memory.h."""
    dl_keep_memory()
