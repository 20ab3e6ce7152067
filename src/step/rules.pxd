# Update rules: see rules.h. The numbers are of the type of w, of the gradient g, or of the tile.
from product.tiles cimport prefetch_list, tile_args

cdef extern from "step/rules.h" nogil:
    enum:
        STORE         # no update: the gradient is stored
        RULE_COUNT
    ctypedef struct rule_facts:
        const char *name
        int states
        double picoseconds
    const rule_facts rules[]
    ctypedef struct rule_param:
        const void *w
        const void *first
        const void *second
        void *next_w
        void *next_first
        void *next_second
        void *grad
        double reg
    ctypedef struct rule_update:
        pass
    void set_numbers(rule_param *param, double rate, double keep1, double keep2, double eps, double weight_decay,
                     double t) noexcept
    void set_update(rule_update *to, const rule_param *param, int rule, const void *w) noexcept
    # By n gradients in memory, from element `at` on.
    void update_vector(const rule_update *u, const void *g, Py_ssize_t at, Py_ssize_t n) noexcept
    # By a tile of sums, or by the tile that args describe. Both return the sum of squares of the parameter before,
    # which is 0 without reg.
    double update_by(const rule_update *u, const void *tile, int nv, int rows, int cols, Py_ssize_t at,
                     Py_ssize_t ld) noexcept
    double update_tile(const tile_args *args, const void *c, int rows, int cols, Py_ssize_t kc, const rule_update *u,
                       Py_ssize_t at, Py_ssize_t ld) noexcept
    void prefetch_update(const rule_update *u, prefetch_list *lines, const void *w, Py_ssize_t rows, Py_ssize_t cols,
                         Py_ssize_t at, Py_ssize_t ld) noexcept


cdef inline dict rules_by_name():
    """{name: number} of every rule that can be chosen."""
    return {(<bytes> rules[k].name).decode().lower(): k for k in range(RULE_COUNT) if k != STORE}
