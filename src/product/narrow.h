/* The last columns of a product whose left factor is transposed, when they leave most of a vector empty.
   Part of product/product.h, once per type. */

#if GEMM_NARROW


/* Rows i0..i1, columns j0..j1 of C when A is transposed and the columns are few: the vectors of a tile
   run down the rows of C, whose numbers lie side by side in A, and are turned on their way to memory. */
static void TYPED(narrow)(const product_plan *p, const real *a, const real *b, /* IN */
                              real *c, const real *bias,
                              ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0, ptrdiff_t j1, real *panel)
{
    const int count = (int)(j1 - j0), groups = (int)ceil_div(count, MR);
    vec sums[2 * MR * 2], turned[2 * VL], r[VL];
    tile_args job;
    job.rs = p->trans_b ? p->ldb : 1;
    job.cs = p->trans_b ? 1 : p->ldb;
    job.jump = 0;
    job.bvs = job.cvs = VL;
    job.ldc = p->n;
    job.bias = bias;
    job.mask = NULL;
    job.scale = 1;
    job.prefetch = NULL;
    for (ptrdiff_t i = i0; i < i1; i += WIDTH) {
        const int rows = i1 - i < WIDTH ? (int)(i1 - i) : WIDTH, nv = rows > VL ? 2 : 1;
        const ptrdiff_t after = i1 - i - WIDTH;
        ptrdiff_t kp = 0;
        do {
            const ptrdiff_t kc = p->k - kp < p->kc ? p->k - kp : p->kc;
            job.chunk = kc > 0 ? kc : 1;
            job.b = a + kp * p->lda + i;
            job.ldb = p->lda;
            if ((2 * rows) % VL) {
                pack_rows(kc, rows, a + kp * p->lda + i, p->lda, panel);
                job.b = panel;
                job.ldb = nv * VL;
            }
            if (after > 0 && p->lda > 4 * WIDTH)
                for (ptrdiff_t k = 0; k < kc; k++) {
                    PREFETCH_NEAR(a + (kp + k) * p->lda + i + WIDTH);
                    PREFETCH_NEAR(a + (kp + k) * p->lda + i + WIDTH + (after < WIDTH ? after : WIDTH) - 1);
                }
            for (int g = 0; g < groups; g++) {
                const int first = (int)part_start(count, groups, g), past = (int)part_start(count, groups, g + 1);
                job.a = b + (j0 + first) * job.rs + kp * job.cs;
                tile_sums(&job, past - first, rows, kc, sums + first * nv);
            }
            job.flags = (kp ? TILE_ADD : 0) | (kp + kc == p->k ? p->flags : 0);
            for (int v = 0; v < nv; v++) {
                const int height = rows - v * VL < VL ? rows - v * VL : VL;
                for (int j = 0; j < count; j += WIDTH) {
                    const int cols = count - j < WIDTH ? count - j : WIDTH, wide = cols > VL ? 2 : 1;
                    for (int w = 0; w < wide; w++) {
                        const int at = j + w * VL;
                        _Pragma("GCC unroll 16")
                        for (int l = 0; l < VL; l++)
                            r[l] = at + l < count ? sums[(at + l) * nv + v] : (vec){0};
                        TRANSPOSE(r)
                        _Pragma("GCC unroll 16")
                        for (int l = 0; l < VL; l++) turned[l * wide + w] = r[l];
                    }
                    job.bias = bias == NULL ? NULL : bias + j0 + j;
                    tile_store(&job, c + (i + v * VL) * p->n + j0 + j, height, cols, turned, cols > VL ? 2 : 1);
                }
            }
            kp += kc;
        } while (kp < p->k);
    }
}


#else
static void TYPED(narrow)(const product_plan *p, const real *a, const real *b, real *c,
                              const real *bias, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0, ptrdiff_t j1,
                              real *panel) {}
#endif
