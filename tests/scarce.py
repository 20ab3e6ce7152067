"""A system that is short of memory or of threads: a C library to be preloaded, which a test program steers.

`fail_allocation(n)` makes the n-th allocation from there on fail, once; `allocations()` says how many there were.
`leave_threads(n)` lets as many further threads live at the same time, no more; after `linger(n)` one that has ended is
among them until the system was asked n times whether it is still there.

ROOM is the start of a program that limits its own address space.
"""

import os
import shutil
import subprocess

import pytest

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

void *__libc_malloc(size_t); void *__libc_calloc(size_t, size_t); void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static long fail_at, seen;
static unsigned long sparing[64][2]; /* of the OpenMP runtime and of the C library, whose memory is not ours */
static int spared;

static int note(struct dl_phdr_info *info, size_t size, void *unused)
{
    const char *name = strrchr(info->dlpi_name, '/');
    if (name == NULL || (strncmp(name, "/libgomp", 8) && strncmp(name, "/libomp", 7) && strncmp(name, "/libc.", 6)
                         && strncmp(name, "/ld-", 4))) return 0;
    for (int i = 0; i < info->dlpi_phnum && spared < 64; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            sparing[spared][0] = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            sparing[spared][1] = sparing[spared][0] + info->dlpi_phdr[i].p_memsz;
            spared++;
        }
    return 0;
}

void fail_allocation(long n)
{
    spared = 0;
    dl_iterate_phdr(note, NULL);
    __atomic_store_n(&seen, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&fail_at, n, __ATOMIC_SEQ_CST);
}

long allocations(void)
{
    __atomic_store_n(&fail_at, 0, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&seen, __ATOMIC_SEQ_CST);
}

static int fails(void *from)
{
    if (__atomic_load_n(&fail_at, __ATOMIC_RELAXED) == 0) return 0;
    for (int i = 0; i < spared; i++)
        if ((unsigned long)from >= sparing[i][0] && (unsigned long)from < sparing[i][1]) return 0;
    if (__atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST) != fail_at) return 0;
    errno = ENOMEM;
    return 1;
}

#define CALLER __builtin_return_address(0)
void *malloc(size_t n) { return fails(CALLER) ? NULL : __libc_malloc(n); }
void *calloc(size_t k, size_t n) { return fails(CALLER) ? NULL : __libc_calloc(k, n); }
void *realloc(void *p, size_t n) { return fails(CALLER) ? NULL : __libc_realloc(p, n); }
void *aligned_alloc(size_t a, size_t n) { return fails(CALLER) ? NULL : __libc_memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n)
{
    void *got = fails(CALLER) ? NULL : __libc_memalign(a, n);
    if (got == NULL) return ENOMEM;
    *p = got;
    return 0;
}

static long left = -1; /* threads that may still be started; -1: any number */
static long asked, lingering[64][2]; /* how often to ask; threads that ended, and how often they will still be there */
static int ended;
static pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER;
typedef struct { void *(*run)(void *); void *arg; } Start;

long syscall(long number, ...)
{
    long a[6];
    va_list more;
    va_start(more, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(more, long);
    va_end(more);
    long (*real)(long, ...) = dlsym(RTLD_NEXT, "syscall");
    if (number == SYS_tgkill && a[2] == 0)
        for (int i = 0; i < __atomic_load_n(&ended, __ATOMIC_SEQ_CST) && i < 64; i++)
            if (lingering[i][0] == a[1] && lingering[i][1] > 0) {
                if (--lingering[i][1] == 0) __atomic_add_fetch(&left, 1, __ATOMIC_SEQ_CST);
                return 0;
            }
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void *lived(void *arg)
{
    Start start = *(Start *)arg;
    free(arg);
    void *end = start.run(start.arg);
    if (asked == 0)
        __atomic_add_fetch(&left, 1, __ATOMIC_SEQ_CST);
    else {
        pthread_mutex_lock(&door);
        if (ended < 64) {
            lingering[ended][0] = syscall(SYS_gettid);
            lingering[ended][1] = asked;
            __atomic_add_fetch(&ended, 1, __ATOMIC_SEQ_CST);
        }
        pthread_mutex_unlock(&door);
    }
    return end;
}

void leave_threads(long n) { __atomic_store_n(&left, n, __ATOMIC_SEQ_CST); }
void linger(long n) { asked = n; }

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    if (__atomic_load_n(&left, __ATOMIC_SEQ_CST) < 0) return real(thread, attr, run, arg);
    if (__atomic_fetch_sub(&left, 1, __ATOMIC_SEQ_CST) <= 0) {
        __atomic_add_fetch(&left, 1, __ATOMIC_SEQ_CST);
        return EAGAIN;
    }
    Start *start = malloc(sizeof(Start));
    *start = (Start){run, arg};
    return real(thread, attr, lived, start);
}
"""


def library_of(source, folder):
    """The C program as a library to be preloaded, built in `folder`. Who tests a wheel may have no compiler; where
    kernels are asked for, there is one."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None and os.environ.get("DASECV_REQUIRE_KERNELS") != "1":
        pytest.skip("no C compiler")
    assert compiler, "no C compiler, and DASECV_REQUIRE_KERNELS is set"
    path, library = folder / "preloaded.c", folder / "preloaded.so"
    path.write_text(source)
    subprocess.run([compiler, "-O1", "-fPIC", "-shared", "-o", library, path, "-ldl", "-lpthread"], check=True)
    return library


def preloaded(folder):
    """The environment of a program with the library, which is built in `folder`."""
    library = library_of(SOURCE, folder)
    before = [os.environ["LD_PRELOAD"]] if os.environ.get("LD_PRELOAD") else []
    return {"LD_PRELOAD": ":".join([*before, str(library)]), "OPENBLAS_NUM_THREADS": "1"}


ROOM = """
import resource


def limit(room):
    # So many bytes of address space beyond what is taken; returns the former limit.
    taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    former = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + room, former[1]))
    if resource.getrlimit(resource.RLIMIT_AS)[0] != taken + room:
        print("no limit")
        raise SystemExit
    return former

"""


def limited(said):
    """The words of a program that has called `limit` of ROOM; skips the test where the system knows no such limit."""
    if said.split() == ["no", "limit"]:
        pytest.skip("the limit of memory that was set is not there, as in an emulator of another processor")
    return said.split()
