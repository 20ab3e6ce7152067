# Update rules: see rules.h. The numbers are of the type of w, of the gradient g, or of the tile.
from libc.math cimport pow

from product.tiles cimport tile_args

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
        double rate, keep1, keep2, eps, scale, decay, reg
    ctypedef struct rule_update:
        pass
    void set_update(rule_update *to, const rule_param *param, int rule, const void *w) noexcept
    # By n gradients in memory, from element `at` on.
    void update_vector(const rule_update *u, const void *g, Py_ssize_t at, Py_ssize_t n) noexcept
    # By a tile of sums, or by the tile that args describe. Both return the sum of squares of the parameter before,
    # which is 0 without reg.
    double update_by(const rule_update *u, const void *tile, int nv, int rows, int cols, Py_ssize_t at,
                     Py_ssize_t ld) noexcept
    double update_tile(const tile_args *args, const void *c, int rows, int cols, Py_ssize_t kc, const rule_update *u,
                       Py_ssize_t at, Py_ssize_t ld) noexcept


cdef inline void set_numbers(rule_param *p, double rate, double keep1, double keep2, double eps, double weight_decay,
                             double t) noexcept nogil:
    """The numbers of a rule, from its settings. t: the number of the step, from 1; 0 for rules that do not count. Both
    corrections of the moving averages are scalars: folded here, they cost no division per element."""
    p.rate = rate / (1 - pow(keep1, t)) if t > 0 else rate
    p.keep1, p.keep2, p.eps = keep1, keep2, eps
    p.scale = 1 / (1 - pow(keep2, t)) if t > 0 else 1
    p.decay = rate * weight_decay


cdef inline dict rules_by_name():
    """{name: number} of every rule that can be chosen."""
    return {(<bytes> rules[k].name).decode().lower(): k for k in range(RULE_COUNT) if k != STORE}
