/* Rows of a register tile, and a kernel for each number of them.

   Every row has an accumulator with a name of its own: an array of them would be kept in memory. So what a kernel does
   to a row is a macro X(row, pointer, row from the pointer), said for each row by ROWS_n, and UP_TO makes the kernels
   for 1, 2, ... rows and their lines in a table. */
#ifndef ROWS_H
#define ROWS_H

/* The most rows: with two vectors a row, the rest of the registers hold the inputs. */
#if defined(__AVX512F__)
#define MR 12
#elif defined(__AVX2__)
#define MR 6
#elif defined(__aarch64__)
#define MR 8
#else
#define MR 4
#endif

/* Rows are reached by pointer + 0, 1, 2 strides, which leaves enough integer registers for 12 rows. */
#define ROWS_1(X) X(0, p0, 0)
#define ROWS_2(X) ROWS_1(X) X(1, p0, 1)
#define ROWS_3(X) ROWS_2(X) X(2, p0, 2)
#define ROWS_4(X) ROWS_3(X) X(3, p1, 0)
#define ROWS_5(X) ROWS_4(X) X(4, p1, 1)
#define ROWS_6(X) ROWS_5(X) X(5, p1, 2)
#define ROWS_7(X) ROWS_6(X) X(6, p2, 0)
#define ROWS_8(X) ROWS_7(X) X(7, p2, 1)
#define ROWS_9(X) ROWS_8(X) X(8, p2, 2)
#define ROWS_10(X) ROWS_9(X) X(9, p3, 0)
#define ROWS_11(X) ROWS_10(X) X(10, p3, 1)
#define ROWS_12(X) ROWS_11(X) X(11, p3, 2)

/* The pointers to rows of a, rs numbers apart, and a step of all of them. */
#define ROW_POINTERS(ROWS, type)                                                             \
    const type *p0 = a, *p1 = a, *p2 = a, *p3 = a;                                           \
    if (ROWS > 3) p1 = a + 3 * rs;                                                           \
    if (ROWS > 6) p2 = a + 6 * rs;                                                           \
    if (ROWS > 9) p3 = a + 9 * rs;                                                           \
    (void)p1; (void)p2; (void)p3;
#define ROW_STEP(by) p0 += by, p1 += by, p2 += by, p3 += by

/* One vector a row, or two. */
#define ZERO_1(i, p, r) vec c##i = {0};
#define ZERO_2(i, p, r) vec c##i = {0}, d##i = {0};
#define SAVE_1(i, p, r) tile[i] = c##i;
#define SAVE_2(i, p, r) tile[2 * i] = c##i; tile[2 * i + 1] = d##i;

/* Where the hot loops lie in the lines of the cache shows in their speed: the same place in every module. */
#define KERNEL_CODE __attribute__((aligned(64)))

/* X(1) X(2) ... X(count), for the numbers of rows that there are. */
#define UP_TO_3(X) X(1) X(2) X(3)
#define UP_TO_4(X) UP_TO_3(X) X(4)
#define UP_TO_6(X) UP_TO_4(X) X(5) X(6)
#define UP_TO_8(X) UP_TO_6(X) X(7) X(8)
#define UP_TO_12(X) UP_TO_8(X) X(9) X(10) X(11) X(12)
#define UP_TO_(count, X) UP_TO_##count(X)
#define UP_TO(count, X) UP_TO_(count, X)

#endif
