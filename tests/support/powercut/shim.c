/*
 * Writes down everything that a process does to the files below a folder, in order, so that a test can tell what a disk would
 * hold if the power had failed at any moment. Loaded with LD_PRELOAD in front of libc; the folder is named by
 * SALVER_TEST_TAPED and the log by SALVER_TEST_TAPE.
 *
 * Each call is carried out first and logged then, under one lock, so the log has the order of the calls. What the process
 * says on stdout stands in the log as well: that is what it has acknowledged by then.
 *
 * An entry is a line "kind inode inode number length" and so many bytes:
 *   N parent inode folder? name    a new entry          W inode - offset data      written
 *   R parent parent - old\0new     renamed              T inode - size             cut or grown
 *   U parent - - name              removed              S inode - -                fsync
 *   A - - - text                   said on stdout       D inode - -                fdatasync
 *                                                       F inode - -                a sync that failed
 * The sync whose number SALVER_TEST_FAIL_SYNC names fails: as Linux does it, the error is told once, and what was to be
 * synced counts as clean from then on, so that no later sync writes it.
 * sync_file_range is not logged: it says nothing of a disk's cache nor of a file's length (sync_file_range(2)).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static int tape = -1;

static int (*real_openat)(int, const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_renameat)(int, const char *, int, const char *);
static int (*real_unlinkat)(int, const char *, int);
static int (*real_mkdirat)(int, const char *, mode_t);

__attribute__((constructor)) static void begin(void)
{
    real_openat = dlsym(RTLD_NEXT, "openat");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_renameat = dlsym(RTLD_NEXT, "renameat");
    real_unlinkat = dlsym(RTLD_NEXT, "unlinkat");
    real_mkdirat = dlsym(RTLD_NEXT, "mkdirat");
    const char *path = getenv("SALVER_TEST_TAPE");
    root = getenv("SALVER_TEST_TAPED");
    if (root && path)
        tape = real_openat(AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

/* Appends one entry. A tape with a hole would prove nothing, so a failure ends the process. */
static void note(char kind, unsigned long long a, unsigned long long b, unsigned long long n, const void *data, size_t length)
{
    char head[128];
    int kept = errno;
    int size = snprintf(head, sizeof head, "%c %llu %llu %llu %zu\n", kind, a, b, n, length);
    struct iovec parts[2] = {{head, size}, {(void *)data, length}};
    if (writev(tape, parts, 2) != (ssize_t)(size + length))
        abort();
    errno = kept;
}

static int below(int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    size_t depth = root ? strlen(root) : 0;
    return tape >= 0 && length >= (ssize_t)depth && !strncmp(path, root, depth) &&
           (length == (ssize_t)depth || path[depth] == '/');
}

static unsigned long long inode(int fd)
{
    struct stat is;
    return fstat(fd, &is) ? 0 : is.st_ino;
}

/* The folder that a path is in, if it is one of ours, and the last part of the path; 0 otherwise. */
static unsigned long long parent(int at, const char *path, const char **name)
{
    char folder[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    if (slash)
        snprintf(folder, sizeof folder, "%.*s", (int)(slash == path ? 1 : slash - path), path);
    int fd = real_openat(at, folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    unsigned long long is = below(fd) ? inode(fd) : 0;
    close(fd);
    return is;
}

static int opened(int at, const char *path, int flags, mode_t mode)
{
    if (tape < 0 || !(flags & (O_CREAT | O_TRUNC)))
        return real_openat(at, path, flags, mode);
    pthread_mutex_lock(&order);
    int was_there = !faccessat(at, path, F_OK, AT_SYMLINK_NOFOLLOW);
    int fd = real_openat(at, path, flags, mode);
    if (fd >= 0 && below(fd)) {
        const char *name;
        unsigned long long folder = parent(at, path, &name);
        if (!was_there)
            note('N', folder, inode(fd), 0, name, strlen(name));
        else if (flags & O_TRUNC)
            note('T', inode(fd), 0, 0, "", 0);
    }
    pthread_mutex_unlock(&order);
    return fd;
}

#define MODE(flags, mode) \
    mode_t mode = 0; \
    if ((flags) & O_CREAT) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }

int open(const char *path, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags, mode) return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags, mode) return opened(at, path, flags | O_LARGEFILE, mode); }

ssize_t write(int fd, const void *data, size_t length)
{
    if (tape < 0 || !(fd == 1 || below(fd)))
        return real_write(fd, data, length);
    pthread_mutex_lock(&order);
    off_t from = fd == 1 ? 0 : lseek(fd, 0, (fcntl(fd, F_GETFL) & O_APPEND) ? SEEK_END : SEEK_CUR);
    ssize_t done = real_write(fd, data, length);
    if (done > 0)
        note(fd == 1 ? 'A' : 'W', fd == 1 ? 0 : inode(fd), 0, from, data, done);
    pthread_mutex_unlock(&order);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t from)
{
    if (!below(fd))
        return real_pwrite(fd, data, length, from);
    pthread_mutex_lock(&order);
    ssize_t done = real_pwrite(fd, data, length, from);
    if (done > 0)
        note('W', inode(fd), 0, from, data, done);
    pthread_mutex_unlock(&order);
    return done;
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t from) { return pwrite(fd, data, length, from); }

int ftruncate(int fd, off_t size)
{
    pthread_mutex_lock(&order);
    int failed = real_ftruncate(fd, size);
    if (!failed && below(fd))
        note('T', inode(fd), 0, size, "", 0);
    pthread_mutex_unlock(&order);
    return failed;
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

static int synced(int fd, char kind, int (*sync)(int))
{
    static int syncs;
    const char *failing = getenv("SALVER_TEST_FAIL_SYNC");
    pthread_mutex_lock(&order);
    if (failing && below(fd) && ++syncs == atoi(failing)) {
        note('F', inode(fd), 0, 0, "", 0);
        pthread_mutex_unlock(&order);
        errno = EIO;
        return -1;
    }
    int failed = sync(fd);
    if (!failed && below(fd))
        note(kind, inode(fd), 0, 0, "", 0);
    pthread_mutex_unlock(&order);
    return failed;
}
int fsync(int fd) { return synced(fd, 'S', real_fsync); }
int fdatasync(int fd) { return synced(fd, 'D', real_fdatasync); }

int renameat(int from, const char *old, int to, const char *new)
{
    pthread_mutex_lock(&order);
    const char *before, *after;
    unsigned long long left = parent(from, old, &before), entered = parent(to, new, &after);
    int failed = real_renameat(from, old, to, new);
    if (!failed && (left || entered)) {
        char names[2 * NAME_MAX + 2];
        int size = snprintf(names, sizeof names, "%s%c%s", before, 0, after);
        note('R', left, entered, 0, names, size);
    }
    pthread_mutex_unlock(&order);
    return failed;
}
int rename(const char *old, const char *new) { return renameat(AT_FDCWD, old, AT_FDCWD, new); }

int unlinkat(int at, const char *path, int flags)
{
    pthread_mutex_lock(&order);
    const char *name;
    unsigned long long folder = parent(at, path, &name);
    int failed = real_unlinkat(at, path, flags);
    if (!failed && folder)
        note('U', folder, 0, 0, name, strlen(name));
    pthread_mutex_unlock(&order);
    return failed;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int at, const char *path, mode_t mode)
{
    pthread_mutex_lock(&order);
    const char *name;
    unsigned long long folder = parent(at, path, &name);
    int failed = real_mkdirat(at, path, mode);
    struct stat is;
    if (!failed && folder && !fstatat(at, path, &is, AT_SYMLINK_NOFOLLOW))
        note('N', folder, is.st_ino, 1, name, strlen(name));
    pthread_mutex_unlock(&order);
    return failed;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
