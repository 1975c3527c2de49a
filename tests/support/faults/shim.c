/*
 * Fails, cuts short or kills at one operation of a process on the files below a folder. Loaded with
 * LD_PRELOAD in front of libc.
 *
 *   SALVER_TEST_FAULT_BELOW  the folder
 *   SALVER_TEST_FAULT_OPS    the operations that count: any of read, write, sync, make, name
 *   SALVER_TEST_FAULT_AT     the number of the operation that is hit, from 1; 0 hits none
 *   SALVER_TEST_FAULT_HOW    error number, "kill" (before it), "killed" (after it) or "short"
 *   SALVER_TEST_FAULT_STICKS "1": every later operation is hit as well, as on a dying disk
 *   SALVER_TEST_FAULT_LOG    a file that gets a line for each operation
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PASS, ERROR, KILL, KILLED, SHORT };

static atomic_int count;
static const char *below, *ops;
static int at, how = PASS, error, sticks, log_fd = -1;

__attribute__((constructor)) static void begin(void)
{
    below = getenv("SALVER_TEST_FAULT_BELOW");
    ops = getenv("SALVER_TEST_FAULT_OPS");
    const char *number = getenv("SALVER_TEST_FAULT_AT"), *what = getenv("SALVER_TEST_FAULT_HOW");
    const char *path = getenv("SALVER_TEST_FAULT_LOG");
    at = number ? atoi(number) : 0;
    sticks = getenv("SALVER_TEST_FAULT_STICKS") != NULL;
    if (what && !strcmp(what, "kill"))
        how = KILL;
    else if (what && !strcmp(what, "killed"))
        how = KILLED;
    else if (what && !strcmp(what, "short"))
        how = SHORT;
    else if (what) {
        how = ERROR;
        error = atoi(what);
    }
    if (path)
        log_fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static void die(void)
{
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Counts an operation on a path and tells what becomes of it. */
static int hit(const char *kind, const char *path)
{
    if (!below || !ops || strncmp(path, below, strlen(below)) || !strstr(ops, kind))
        return PASS;
    int number = atomic_fetch_add(&count, 1) + 1;
    int is_hit = at && (number == at || (sticks && number > at));
    if (log_fd >= 0) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%d %s %s%s\n", number, kind, path + strlen(below), is_hit ? " HIT" : "");
        syscall(SYS_write, log_fd, line, length);
    }
    if (is_hit && how == KILL)
        die();
    if (is_hit && how == ERROR)
        errno = error;
    return is_hit ? how : PASS;
}

static int hit_fd(const char *kind, int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    return hit(kind, path);
}

static int hit_at(const char *kind, int folder, const char *path)
{
    char whole[2 * PATH_MAX], link[64];
    if (path[0] == '/' || folder == AT_FDCWD)
        return hit(kind, path);
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, whole, PATH_MAX);
    snprintf(whole + (length > 0 ? length : 0), PATH_MAX, "/%s", path);
    return hit(kind, whole);
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name);
#define FINISH(result) \
    __typeof__(result) finished = (result); \
    if (hit_was == KILLED) die(); \
    return finished;
#define DATA(kind, hit_call, call, length) \
    int hit_was = hit_call; \
    if (hit_was == ERROR) return -1; \
    if (hit_was == SHORT && (length) > 1) (length) /= 2; \
    FINISH(call)
#define CALL(hit_call, call) \
    int hit_was = hit_call; \
    if (hit_was == ERROR) return -1; \
    FINISH(call)

ssize_t read(int fd, void *data, size_t length)
{ REAL(ssize_t, "read", int, void *, size_t) DATA("read", hit_fd("read", fd), real(fd, data, length), length) }
ssize_t pread64(int fd, void *data, size_t length, off64_t from)
{ REAL(ssize_t, "pread64", int, void *, size_t, off64_t) DATA("read", hit_fd("read", fd), real(fd, data, length, from), length) }
ssize_t write(int fd, const void *data, size_t length)
{ REAL(ssize_t, "write", int, const void *, size_t) DATA("write", hit_fd("write", fd), real(fd, data, length), length) }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t from)
{ REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t) DATA("write", hit_fd("write", fd), real(fd, data, length, from), length) }
int ftruncate64(int fd, off64_t length)
{ REAL(int, "ftruncate64", int, off64_t) CALL(hit_fd("write", fd), real(fd, length)) }
int fsync(int fd)
{ REAL(int, "fsync", int) CALL(hit_fd("sync", fd), real(fd)) }
int fdatasync(int fd)
{ REAL(int, "fdatasync", int) CALL(hit_fd("sync", fd), real(fd)) }
int sync_file_range(int fd, off64_t from, off64_t length, unsigned flags)
{ REAL(int, "sync_file_range", int, off64_t, off64_t, unsigned) CALL(hit_fd("sync", fd), real(fd, from, length, flags)) }
int mkdir(const char *path, mode_t mode)
{ REAL(int, "mkdir", const char *, mode_t) CALL(hit("make", path), real(path, mode)) }
int rename(const char *from, const char *to)
{ REAL(int, "rename", const char *, const char *) CALL(hit("name", from), real(from, to)) }
int unlink(const char *path)
{ REAL(int, "unlink", const char *) CALL(hit("name", path), real(path)) }
int unlinkat(int folder, const char *path, int flags)
{ REAL(int, "unlinkat", int, const char *, int) CALL(hit_at("name", folder, path), real(folder, path, flags)) }
int rmdir(const char *path)
{ REAL(int, "rmdir", const char *) CALL(hit("name", path), real(path)) }

static mode_t mode_of(int flags, va_list more)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
}
#define MODE(flags) \
    va_list more; \
    va_start(more, flags); \
    mode_t mode = mode_of(flags, more); \
    va_end(more);
#define OPENS(flags) ((flags) & O_CREAT ? "make" : "read")
int open64(const char *path, int flags, ...)
{ MODE(flags) REAL(int, "open64", const char *, int, ...) CALL(hit(OPENS(flags), path), real(path, flags, mode)) }
int open(const char *path, int flags, ...)
{ MODE(flags) REAL(int, "open", const char *, int, ...) CALL(hit(OPENS(flags), path), real(path, flags, mode)) }
int openat64(int folder, const char *path, int flags, ...)
{ MODE(flags) REAL(int, "openat64", int, const char *, int, ...) CALL(hit_at(OPENS(flags), folder, path), real(folder, path, flags, mode)) }
int openat(int folder, const char *path, int flags, ...)
{ MODE(flags) REAL(int, "openat", int, const char *, int, ...) CALL(hit_at(OPENS(flags), folder, path), real(folder, path, flags, mode)) }
