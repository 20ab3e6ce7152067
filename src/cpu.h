/* What this CPU and its operating system can run. setup.py compiles it into a program of its own, to know which
   level a build in place is for; so it needs no Python. */
#ifndef DASE_CPU_H
#define DASE_CPU_H

/* The highest level: 0 base, 1 v3, 2 v4. */
#if (defined(__GNUC__) || defined(__clang__)) && (defined(__x86_64__) || defined(__i386__))
static int level_number(void) {
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
          && __builtin_cpu_supports("bmi2"))) return 0;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) return 2;
    return 1;
}
#elif defined(_MSC_VER) && defined(_M_X64)
#include <intrin.h>
static int level_number(void) {
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
static int level_number(void) { return 0; }
#endif

/* Leaf 7, subleaf 1, EAX bit 5: AVX512_BF16. It is asked for only after level_number found AVX-512,
   which has also asked whether the operating system saves the registers. */
#if (defined(__GNUC__) || defined(__clang__)) && (defined(__x86_64__) || defined(__i386__))
#include <cpuid.h>
static int cpu_has_bf16(void) {
    unsigned a, b, c, d;
    if (level_number() != 2 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || a < 1) return 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5)) != 0;
}
#elif defined(_MSC_VER) && defined(_M_X64)
static int cpu_has_bf16(void) {
    int r[4];
    if (level_number() != 2) return 0;
    __cpuidex(r, 7, 0);
    if (r[0] < 1) return 0;
    __cpuidex(r, 7, 1);
    return (r[0] & (1 << 5)) != 0;
}
#else
static int cpu_has_bf16(void) { return 0; }
#endif

/* Leaf 7, EDX bits 22 and 24: AMX_BF16, AMX_TILE. Their registers are large, so a process asks for them:
   18 is the number of their state. The answer holds for all threads and is the same each time. */
#if defined(__linux__) && defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <sys/syscall.h>
#include <unistd.h>
#ifndef ARCH_REQ_XCOMP_PERM
#define ARCH_REQ_XCOMP_PERM 0x1023
#endif
static int process_has_amx(void) {
    unsigned a, b, c, d;
    if (!cpu_has_bf16() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    if (!(d & (1u << 22)) || !(d & (1u << 24))) return 0;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, 18) == 0;
}
#else
static int process_has_amx(void) { return 0; }
#endif

#endif
