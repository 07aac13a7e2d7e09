#include "choose.h"
#include "internal.h"
#include "winograd.h"

#define PASTE2(a, b) a##_##b
#define PASTE(a, b) PASTE2(a, b)
#define ID(name) PASTE(name, TYPE)

#define REAL float
#define TYPE f32
#include "conv2d.h"
#undef REAL
#undef TYPE

#define REAL double
#define TYPE f64
#include "conv2d.h"
