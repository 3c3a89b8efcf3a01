/* A program's reads of one file -> EIO where the plan says so: for machines without FUSE, by LD_PRELOAD.
 *
 * NTT_TEST_FAULTY_READS is `start-end,start-end,...:PATH`: a read that touches one of these bytes of PATH, end exclusive,
 * gives EIO as a whole. The file is known by its device and inode, however it was opened or inherited.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct bad {
    long long start, end;
};

static struct bad *bad;
static size_t bad_count;
static struct stat source;
static ssize_t (*real_read)(int, void *, size_t);
static ssize_t (*real_pread)(int, void *, size_t, off64_t);

__attribute__((constructor)) static void take_plan(void)
{
    char *text = getenv("NTT_TEST_FAULTY_READS");
    real_read = (ssize_t (*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    real_pread = (ssize_t (*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64");
    if (text == NULL)
        return;
    bad = calloc(strlen(text) / 4 + 1, sizeof *bad);
    while (bad != NULL && *text != ':' && *text != '\0') {
        bad[bad_count].start = strtoll(text, &text, 10);
        bad[bad_count++].end = strtoll(text + 1, &text, 10);
        text += *text == ',';
    }
    if (*text != ':' || stat(text + 1, &source) != 0)
        _exit(99); /* a test must not pass because its faults are missing */
}

static int is_bad(int fd, long long start, size_t size)
{
    struct stat status;
    if (bad_count == 0 || start < 0 || fstat(fd, &status) != 0)
        return 0;
    if (status.st_dev != source.st_dev || status.st_ino != source.st_ino)
        return 0;
    for (size_t n = 0; n < bad_count; n++)
        if (start < bad[n].end && bad[n].start < start + (long long)size)
            return 1;
    return 0;
}

ssize_t read(int fd, void *buffer, size_t size)
{
    if (bad_count > 0) {
        int before = errno;
        if (is_bad(fd, lseek64(fd, 0, SEEK_CUR), size)) {
            errno = EIO;
            return -1;
        }
        errno = before;
    }
    return real_read(fd, buffer, size);
}

ssize_t pread64(int fd, void *buffer, size_t size, off64_t at)
{
    if (is_bad(fd, at, size)) {
        errno = EIO;
        return -1;
    }
    return real_pread(fd, buffer, size, at);
}

ssize_t pread(int fd, void *buffer, size_t size, off_t at)
{
    return pread64(fd, buffer, size, at);
}
