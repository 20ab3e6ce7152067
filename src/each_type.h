/* One type after the other: a header that is written once and compiled for float and for double.

   Such a header names itself in EACH_TYPE and includes this file:

       #ifndef real                       (once: what both types share)
       #ifndef PACKING_H
       #define PACKING_H
       #define EACH_TYPE "product/packing.h"
       #include "each_type.h"
       #define pack_rows_real(kc, cols, b, ...) BY_TYPE(b, pack_rows)(kc, cols, b, __VA_ARGS__)
       #endif
       #else                              (once per type)
       #define pack_rows TYPED(pack_rows)
       static void pack_rows(ptrdiff_t kc, int cols, const real *b, ...) { ... }
       #endif

   In the part that is compiled once per type, `real` is the type, VL the lanes of one of its vectors and
   lane_int an integer of the same width. TYPED(name) is the name with the type behind it. The line before
   a definition lets every call be written with the plain name, and a search for that name finds both.

   Elsewhere `real` is no macro, and the plain name becomes name_real: a macro that chooses by the type of an argument,
   for callers that know both types, such as Cython. */
#ifndef TYPED
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define TYPED(name) PASTE(name##_, real)
#define BY_TYPE(pointer, name) _Generic(*(pointer), float: name##_float, double: name##_double)
#endif

#define real float
#define lane_int int
#define VL VL_FLOAT
#include EACH_TYPE
#undef real
#undef lane_int
#undef VL
#define real double
#define lane_int long long
#define VL VL_DOUBLE
#include EACH_TYPE
#undef real
#undef lane_int
#undef VL
#undef EACH_TYPE
