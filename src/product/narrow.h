/* The last columns of a product whose left factor is transposed, when they leave most of a vector empty.
   Part of product/product.h, once per type. */

#if GEMM_NARROW

#define vec DASE_NAME(vec)

/* Rows i0..i1, columns j0..j1 of C when A is transposed and the columns are few: the vectors of a tile
   run down the rows of C, whose numbers lie side by side in A, and are turned on their way to memory. */
static void DASE_NAME(narrow)(const dase_plan *p, const DASE_TYPE *a, const DASE_TYPE *b, /* IN */
                              DASE_TYPE *c, const DASE_TYPE *bias,
                              ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0, ptrdiff_t j1, DASE_TYPE *panel)
{
    const int count = (int)(j1 - j0), groups = (int)gemm_up(count, DASE_MR);
    vec sums[2 * DASE_MR * 2], turned[2 * DASE_VL], r[DASE_VL];
    DASE_NAME(job) job;
    job.rs = p->trans_b ? p->ldb : 1;
    job.cs = p->trans_b ? 1 : p->ldb;
    job.jump = 0;
    job.bvs = job.cvs = DASE_VL;
    job.c = c;
    job.ldc = p->n;
    job.bias = bias;
    job.mask = NULL;
    job.scale = 1;
    job.asks = NULL;
    for (ptrdiff_t i = i0; i < i1; i += WIDTH) {
        const int rows = i1 - i < WIDTH ? (int)(i1 - i) : WIDTH, nv = rows > DASE_VL ? 2 : 1;
        const ptrdiff_t after = i1 - i - WIDTH;
        ptrdiff_t kp = 0;
        do {
            const ptrdiff_t kc = p->k - kp < p->kc ? p->k - kp : p->kc;
            job.chunk = kc > 0 ? kc : 1;
            job.b = a + kp * p->lda + i;
            job.ldb = p->lda;
            if ((2 * rows) % DASE_VL) {
                DASE_NAME(pack_rows)(kc, rows, job.b, p->lda, panel);
                job.b = panel;
                job.ldb = nv * DASE_VL;
            }
            if (after > 0 && p->lda > 4 * WIDTH)
                for (ptrdiff_t k = 0; k < kc; k++) {
                    GEMM_ASK(a + (kp + k) * p->lda + i + WIDTH);
                    GEMM_ASK(a + (kp + k) * p->lda + i + WIDTH + (after < WIDTH ? after : WIDTH) - 1);
                }
            for (int g = 0; g < groups; g++) {
                const int first = (int)dase_cut(count, groups, g), past = (int)dase_cut(count, groups, g + 1);
                job.a = b + (j0 + first) * job.rs + kp * job.cs;
                DASE_NAME(sums)(&job, past - first, rows, kc, sums + first * nv);
            }
            job.flags = (kp ? DASE_ADD : 0) | (kp + kc == p->k ? p->flags : 0);
            for (int v = 0; v < nv; v++) {
                const int height = rows - v * DASE_VL < DASE_VL ? rows - v * DASE_VL : DASE_VL;
                for (int j = 0; j < count; j += WIDTH) {
                    const int cols = count - j < WIDTH ? count - j : WIDTH, wide = cols > DASE_VL ? 2 : 1;
                    for (int w = 0; w < wide; w++) {
                        const int at = j + w * DASE_VL;
                        _Pragma("GCC unroll 16")
                        for (int l = 0; l < DASE_VL; l++)
                            r[l] = at + l < count ? sums[(at + l) * nv + v] : (vec){0};
                        DASE_TRANSPOSE(r)
                        _Pragma("GCC unroll 16")
                        for (int l = 0; l < DASE_VL; l++) turned[l * wide + w] = r[l];
                    }
                    job.c = c + (i + v * DASE_VL) * p->n + j0 + j;
                    job.bias = bias == NULL ? NULL : bias + j0 + j;
                    DASE_NAME(job_out)(&job, height, cols, turned, cols > DASE_VL ? 2 : 1);
                }
            }
            kp += kc;
        } while (kp < p->k);
    }
}

#undef vec

#else
static void DASE_NAME(narrow)(const dase_plan *p, const DASE_TYPE *a, const DASE_TYPE *b, DASE_TYPE *c,
                              const DASE_TYPE *bias, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0, ptrdiff_t j1,
                              DASE_TYPE *panel) {}
#endif
