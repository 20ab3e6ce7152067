"""What the machine can do, and what the process has once: the pool of workers and the cache of scratch memory.

Built without any instruction-set flag, so that it can be imported everywhere and asked
before a module of a higher level is loaded.
"""

from cpython.pycapsule cimport PyCapsule_New

cdef extern from *:
    "#define DASE_RUNTIME"

cdef extern from "threads/pool.h" nogil:
    const char *DASE_SHARED_NAME
    int dase_processors

cdef extern from "threads/scratch.h" nogil:
    size_t dase_kept_bytes() noexcept

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    static int dase_openmp(void) { return _OPENMP; }
    static int dase_max_threads(void) { return omp_get_max_threads(); }
    static int dase_processors_found(void) { return omp_get_num_procs(); }
    #else
    static int dase_openmp(void) { return 0; }
    static int dase_max_threads(void) { return 1; }
    static int dase_processors_found(void) { return 1; }
    #endif

    #if (defined(__GNUC__) || defined(__clang__)) && (defined(__x86_64__) || defined(__i386__))
    static int dase_level(void) {
        __builtin_cpu_init();
        if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
              && __builtin_cpu_supports("bmi2"))) return 0;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
            && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) return 2;
        return 1;
    }
    #elif defined(_MSC_VER) && defined(_M_X64)
    #include <intrin.h>
    static int dase_level(void) {
        int r[4];
        unsigned long long xcr;
        __cpuid(r, 0);
        if (r[0] < 7) return 0;
        __cpuid(r, 1);
        /* OSXSAVE (27), AVX (28), FMA (12): without OSXSAVE the wide registers are not saved */
        if ((r[2] & ((1 << 27) | (1 << 28) | (1 << 12))) != ((1 << 27) | (1 << 28) | (1 << 12))) return 0;
        xcr = _xgetbv(0);
        __cpuidex(r, 7, 0);
        if ((xcr & 6) != 6 || !(r[1] & (1 << 5)) || !(r[1] & (1 << 8))) return 0;
        if ((xcr & 0xe6) == 0xe6 && (r[1] & (1 << 16)) && (r[1] & (1 << 17))
            && (r[1] & (1 << 30)) && (r[1] & (1u << 31))) return 2;
        return 1;
    }
    #else
    static int dase_level(void) { return 0; }
    #endif

    /* Leaf 7, subleaf 1, EAX bit 5: AVX512_BF16. It is asked for only after dase_level found AVX-512,
       which has also asked whether the operating system saves the registers. */
    #if (defined(__GNUC__) || defined(__clang__)) && (defined(__x86_64__) || defined(__i386__))
    #include <cpuid.h>
    static int dase_has_bf16(void) {
        unsigned a, b, c, d;
        if (dase_level() != 2 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || a < 1) return 0;
        return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5)) != 0;
    }
    #elif defined(_MSC_VER) && defined(_M_X64)
    static int dase_has_bf16(void) {
        int r[4];
        if (dase_level() != 2) return 0;
        __cpuidex(r, 7, 0);
        if (r[0] < 1) return 0;
        __cpuidex(r, 7, 1);
        return (r[0] & (1 << 5)) != 0;
    }
    #else
    static int dase_has_bf16(void) { return 0; }
    #endif

    /* Leaf 7, EDX bits 22 and 24: AMX_BF16, AMX_TILE. Their registers are large, so a process asks for them:
       18 is the number of their state. The answer holds for all threads and is the same each time. */
    #if defined(__linux__) && defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    #include <sys/syscall.h>
    #include <unistd.h>
    #ifndef ARCH_REQ_XCOMP_PERM
    #define ARCH_REQ_XCOMP_PERM 0x1023
    #endif
    static int dase_has_amx(void) {
        unsigned a, b, c, d;
        if (!dase_has_bf16() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
        if (!(d & (1u << 22)) || !(d & (1u << 24))) return 0;
        return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, 18) == 0;
    }
    #else
    static int dase_has_amx(void) { return 0; }
    #endif

    /* Processors that the calling thread may run on, where the system says it; and a clock in nanoseconds
       that takes next to no time to read and ticks each few milliseconds. */
    #ifdef __linux__
    #include <sched.h>
    #include <time.h>
    static int dase_affinity(void) {
        cpu_set_t may;
        return sched_getaffinity(0, sizeof may, &may) == 0 ? CPU_COUNT(&may) : dase_processors_found();
    }
    static long long dase_tick(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
        return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    #else
    static int dase_affinity(void) { return dase_processors_found(); }
    static long long dase_tick(void) { return 0; }
    #endif

    static int dase_forked = 0;
    #ifndef _WIN32
    #include <pthread.h>
    static void dase_in_child(void) {
        dase_forked = 1;
        dase_forget_workers();
        dase_count_slots();
    }
    static int dase_watch_forks(void) { return pthread_atfork(NULL, NULL, dase_in_child); }
    #else
    static int dase_watch_forks(void) { return 0; }
    #endif

    static const dase_shared_functions dase_own_functions = {dase_pool_share_out, dase_cache_take, dase_cache_give};
    """
    int dase_openmp() nogil
    int dase_max_threads() nogil
    int dase_level() nogil
    int dase_has_bf16() nogil
    int dase_has_amx() nogil
    int dase_affinity() nogil
    long long dase_tick() nogil
    int dase_forked
    int dase_watch_forks() nogil
    const void *dase_own_functions "&dase_own_functions"


def openmp_version():
    """The OpenMP date (such as 201511), or 0 in a serial build."""
    return dase_openmp()


cdef object _quota_of = None
cdef long long _affinity_read = -1, _quota_read = -1
cdef int _affinity, _quota = 0


def watch_quota(granted):
    """`granted()` says how many processors the control groups grant, or None: it is called each second."""
    global _quota_of, _quota_read
    _quota_of, _quota_read = granted, -1


def threads_for(requested, bint now=False):
    """Threads for the next kernel: what was requested, if anything (None), else what OpenMP would use, but no more
    than the processors that affinity and quota grant. 1 in a child of fork and in a build without OpenMP.

    Each small call asks, so what the system says is believed for some milliseconds, unless it must be of `now`,
    and the quota for a second."""
    global dase_processors, _affinity_read, _affinity, _quota_read, _quota
    if dase_forked or not dase_openmp():
        return 1
    cdef int most = dase_max_threads()
    cdef long long tick = dase_tick()
    if tick != _affinity_read or now:
        if _quota_of is not None and (tick - _quota_read >= 1000000000 or _quota_read < 0 or now):
            _quota_read, _quota = tick, _quota_of() or 0
        _affinity_read, _affinity = tick, dase_affinity()
        dase_processors = min(_affinity, _quota or _affinity)
    return min(most, dase_processors) if requested is None else requested


def kept_scratch():
    """Bytes of scratch memory that are kept for the next call, in the whole process."""
    return dase_kept_bytes()


def cpu_level():
    """The highest level that this CPU and its operating system can run."""
    return ("base", "v3", "v4")[dase_level()]


def has_bf16():
    """Whether this CPU multiplies bfloat16 numbers (AVX512_BF16) and runs level v4."""
    return dase_has_bf16() != 0


def has_amx():
    """Whether this process may multiply bfloat16 numbers by AMX: asks the operating system for its registers."""
    return dase_has_amx() != 0


def forked():
    """True in a child of fork, where a parallel region could wait for threads that were not copied."""
    return dase_forked != 0


threads_for(None)  # libomp reads its settings at its first call, and while this is imported they are set
shared = PyCapsule_New(<void *>dase_own_functions, DASE_SHARED_NAME, NULL)
if dase_watch_forks() != 0:
    raise ImportError("daseCV_c: pthread_atfork failed, so a forked child could not be told apart")
