"""The machine's limits (csrc/peak/): register-resident multiply-adds and copies, for `dlkit bench`."""

from libc.stddef cimport ptrdiff_t


cdef extern from "dl_peak.h":
    double dl_peak_multiply_adds(int threads, ptrdiff_t rounds) nogil
    void dl_peak_copy(int threads, char *to, const char *source, ptrdiff_t n, ptrdiff_t rounds) nogil


def multiply_adds(int threads, ptrdiff_t rounds) -> float:
    """Runs `rounds` rounds on each thread; the floating-point operations done by all of them."""
    cdef double flops
    with nogil:
        flops = dl_peak_multiply_adds(threads, rounds)
    return flops


def copy(int threads, unsigned char[::1] to, const unsigned char[::1] source, ptrdiff_t rounds) -> int:
    """Copies `source` into `to` (equally long) `rounds` times; the bytes read and written."""
    if to.shape[0] != source.shape[0]:
        raise ValueError(f"copy: {source.shape[0]} bytes into {to.shape[0]}")
    if to.shape[0]:
        with nogil:
            dl_peak_copy(threads, <char *>&to[0], <const char *>&source[0], to.shape[0], rounds)
    return 2 * to.shape[0] * rounds
