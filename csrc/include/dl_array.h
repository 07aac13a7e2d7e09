/* New NumPy arrays for results: large ones in a block of the pool, which takes it back when the array dies.
 * Include after numpy/arrayobject.h; call dl_array_import() once, beside import_array(). */
#ifndef DL_ARRAY_H
#define DL_ARRAY_H
#include "dl_pool.h"

enum { DL_POOL_SMALLEST = 64 * 1024 }; /* bytes; below, malloc keeps its memory and is faster */

static const struct dl_pool_api *dl_array_pool;

static inline int dl_array_import(void) {
    PyObject *module = PyImport_ImportModule("dlkit._native.pool");
    if (module == NULL) return -1;
    Py_DECREF(module);
    dl_array_pool = PyCapsule_Import("dlkit._native.pool.api", 0);
    return dl_array_pool == NULL ? -1 : 0;
}

static void dl_array_free(PyObject *capsule) { dl_array_pool->give(PyCapsule_GetPointer(capsule, "dlkit block")); }

/* As PyArray_EMPTY: C-contiguous, values not set. */
static inline PyObject *dl_new_array(int ndim, npy_intp *shape, int type) {
    PyArray_Descr *dtype = PyArray_DescrFromType(type);
    npy_intp bytes = PyDataType_ELSIZE(dtype);
    Py_DECREF(dtype);
    for (int i = 0; i < ndim; i++)
        if (__builtin_mul_overflow(bytes, shape[i], &bytes)) bytes = 0; /* PyArray_EMPTY finds the words for it */
    if (bytes < DL_POOL_SMALLEST) return PyArray_EMPTY(ndim, shape, type, 0);
    struct dl_block *block = dl_array_pool->take((size_t)bytes);
    if (block == NULL) return PyErr_NoMemory();
    PyObject *owner = PyCapsule_New(block, "dlkit block", dl_array_free);
    if (owner == NULL) {
        dl_array_pool->give(block);
        return NULL;
    }
    PyObject *array = PyArray_SimpleNewFromData(ndim, shape, type, block->data);
    if (array == NULL || PyArray_SetBaseObject((PyArrayObject *)array, owner) < 0) { /* the latter takes owner over */
        if (array == NULL) Py_DECREF(owner);
        Py_XDECREF(array);
        return NULL;
    }
    return array;
}
#endif
