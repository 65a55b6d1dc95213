/*
 * Shows a program another time of day, as if somebody had set the machine's clock: preloaded, it adds the seconds that stand in
 * the file WALL_CLOCK to the wall clock, and nothing to any other clock. (libfaketime 0.9.10 breaks sleeping in Python 3.11.)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long moved_by(void)
{
    char text[32] = "";
    const char *path = getenv("WALL_CLOCK");
    int before = errno, file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (file >= 0) {
        if (read(file, text, sizeof text - 1) < 0)
            text[0] = '\0';
        close(file);
    }
    errno = before;
    return strtol(text, NULL, 10);
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    int failed = (int)syscall(SYS_clock_gettime, clock, at);

    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        at->tv_sec += moved_by();
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    int failed = (int)syscall(SYS_gettimeofday, at, zone);

    if (!failed)
        at->tv_sec += moved_by();
    return failed;
}

time_t time(time_t *at)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}
