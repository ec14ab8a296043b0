/* Every sync of a file takes at least BENCH_SYNC_US microseconds: a slower disk, for the programs it is preloaded into. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int slow(const char *name, int file) {
    const char *wanted = getenv("BENCH_SYNC_US");
    long long end = now() + (wanted ? atoll(wanted) * 1000 : 0);
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result = sync(file);
    long long left = end - now();
    if (left > 0) {
        struct timespec rest = {left / 1000000000LL, left % 1000000000LL};
        nanosleep(&rest, NULL);
    }
    return result;
}

int fdatasync(int file) { return slow("fdatasync", file); }
int fsync(int file) { return slow("fsync", file); }
