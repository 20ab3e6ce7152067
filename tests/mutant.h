/* Included into every C file of a build with mutants: which mutant is on, and which were reached. */
#ifndef MUTANT_H
#define MUTANT_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MUTANT_SIZE (1 << 16)

static int mutant_now;
static unsigned char *mutant_seen;

static void mutant_take(void)
{
    const char *number = getenv("MUTANT");
    mutant_now = number != NULL ? atoi(number) : 0;
}

__attribute__((constructor, unused)) static void mutant_begin(void)
{
    const char *path = getenv("MUTANT_SEEN");
    mutant_take();
    pthread_atfork(NULL, NULL, mutant_take); /* a server forks, with another number each time */
    if (path == NULL) return;
    const int file = open(path, O_RDWR);
    void *shared = mmap(NULL, MUTANT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    if (shared != MAP_FAILED) mutant_seen = (unsigned char *)shared;
}

/* Whether this is the child of a server, which has no threads to lose: the kernels take it for a process of its own. */
__attribute__((unused)) static int mutant_served(void)
{
    static int forks;
    return getenv("MUTANT_SERVER") != NULL && forks++ == 0;
}

/* Whether mutant n is on; where it is noted what is reached, none is. */
#define mutant_on(n) (__builtin_expect(mutant_seen != NULL, 0) ? (mutant_seen[n] = 1, 0) : mutant_now == (n))

/* a * b + c, rounded after each. */
#define mutant_unfused(a, b, c)                                                              \
    __extension__({                                                                          \
        __typeof__((c) + (c)) product_ = (a) * (b);                                          \
        __asm__("" : "+x"(product_));                                                        \
        product_ + (c);                                                                      \
    })
#endif
