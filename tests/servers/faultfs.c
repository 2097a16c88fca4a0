/* A pass-through file system whose operations fail on demand (FUSE 3).
 *
 *   faultfs SOURCE RULES MOUNTPOINT [fuse options]
 *
 * RULES is a text file that is read again when it changes; a line each:
 *
 *   OPERATIONS ERRNO PERCENT [PART]    fail with this errno:      write,create 28 100 .cm-
 *   flip OPERATIONS PERCENT [PART]     turn one bit of the data:  flip write 100
 *   short OPERATIONS PERCENT [PART]    do half of what was asked: short write 50
 *
 * OPERATIONS is a comma list of getattr readdir open create read write fsync flush unlink
 * link rename mkdir chmod chown utimens; PART must be in the path. Each fault that strikes
 * adds a line with operation and path to RULES.struck.
 */
#define FUSE_USE_VERSION 31
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { MAX_RULES = 32, FLIP = -1, SHORT = -2 };

struct rule {
    char operations[128];
    char part[128];
    int effect; /* an errno, FLIP or SHORT */
    double percent;
};

static char source[2048], rules_file[2048];
static struct rule rules[MAX_RULES];
static int rule_count, struck_fd = -1;
static struct timespec rules_mtime;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int read_rule(const char *line, struct rule *rule)
{
    char word[128];
    memset(rule, 0, sizeof *rule);
    if (sscanf(line, "%127s", word) < 1 || *word == '#')
        return 0;
    if (!strcmp(word, "flip") || !strcmp(word, "short")) {
        rule->effect = *word == 'f' ? FLIP : SHORT;
        return sscanf(line, "%*s %127s %lf %127s", rule->operations, &rule->percent, rule->part) >= 2;
    }
    return sscanf(line, "%127s %d %lf %127s", rule->operations, &rule->effect, &rule->percent,
                  rule->part) >= 3;
}

static void read_rules(void)
{
    struct stat status;
    char line[512];
    if (stat(rules_file, &status) != 0) {
        rule_count = 0;
        return;
    }
    if (!memcmp(&status.st_mtim, &rules_mtime, sizeof rules_mtime))
        return;
    rules_mtime = status.st_mtim;
    rule_count = 0;
    FILE *file = fopen(rules_file, "r");
    while (file && rule_count < MAX_RULES && fgets(line, sizeof line, file))
        rule_count += read_rule(line, &rules[rule_count]);
    if (file)
        fclose(file);
}

static int concerns(const struct rule *rule, const char *operation, const char *path)
{
    char list[130], word[64];
    snprintf(list, sizeof list, ",%s,", rule->operations);
    snprintf(word, sizeof word, ",%s,", operation);
    return strstr(list, word) && strstr(path, rule->part);
}

/* 0, or what is to go wrong now. */
static int fault(const char *operation, const char *path)
{
    int effect = 0;
    pthread_mutex_lock(&lock);
    read_rules();
    for (int i = 0; i < rule_count && !effect; i++)
        if (concerns(&rules[i], operation, path) && drand48() * 100 < rules[i].percent)
            effect = rules[i].effect;
    if (effect)
        dprintf(struck_fd, "%s %s\n", operation, path);
    pthread_mutex_unlock(&lock);
    return effect;
}

/* Declares `real`, the path below SOURCE, after a chance to fail. */
#define BEGIN(operation, path)                                  \
    char real[4096];                                            \
    int effect = fault(operation, path);                        \
    if (effect > 0)                                             \
        return -effect;                                         \
    snprintf(real, sizeof real, "%s%s", source, path)
#define SECOND(path)                                            \
    char other[4096];                                           \
    snprintf(other, sizeof other, "%s%s", source, path)
#define DONE(result) return (result) < 0 ? -errno : 0

static int on_getattr(const char *path, struct stat *status, struct fuse_file_info *info)
{
    (void)info;
    BEGIN("getattr", path);
    DONE(lstat(real, status));
}

static int on_readlink(const char *path, char *target, size_t size)
{
    BEGIN("readlink", path);
    ssize_t length = readlink(real, target, size - 1);
    if (length < 0)
        return -errno;
    target[length] = 0;
    return 0;
}

static int on_mkdir(const char *path, mode_t mode)
{
    BEGIN("mkdir", path);
    DONE(mkdir(real, mode));
}

static int on_unlink(const char *path)
{
    BEGIN("unlink", path);
    DONE(unlink(real));
}

static int on_rmdir(const char *path)
{
    BEGIN("rmdir", path);
    DONE(rmdir(real));
}

static int on_symlink(const char *target, const char *path)
{
    BEGIN("symlink", path);
    DONE(symlink(target, real));
}

static int on_rename(const char *path, const char *to, unsigned flags)
{
    BEGIN("rename", path);
    SECOND(to);
    DONE(renameat2(AT_FDCWD, real, AT_FDCWD, other, flags));
}

static int on_link(const char *path, const char *to)
{
    BEGIN("link", to);
    (void)real;
    SECOND(to);
    snprintf(real, sizeof real, "%s%s", source, path);
    DONE(link(real, other));
}

static int on_chmod(const char *path, mode_t mode, struct fuse_file_info *info)
{
    (void)info;
    BEGIN("chmod", path);
    DONE(chmod(real, mode));
}

static int on_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *info)
{
    (void)info;
    BEGIN("chown", path);
    DONE(lchown(real, uid, gid));
}

static int on_truncate(const char *path, off_t size, struct fuse_file_info *info)
{
    BEGIN("truncate", path);
    DONE(info ? ftruncate(info->fh, size) : truncate(real, size));
}

static int on_utimens(const char *path, const struct timespec times[2],
                      struct fuse_file_info *info)
{
    (void)info;
    BEGIN("utimens", path);
    DONE(utimensat(AT_FDCWD, real, times, AT_SYMLINK_NOFOLLOW));
}

static int opened(int fd, struct fuse_file_info *info)
{
    if (fd < 0)
        return -errno;
    info->fh = fd;
    info->direct_io = 1;
    return 0;
}

static int on_open(const char *path, struct fuse_file_info *info)
{
    BEGIN("open", path);
    return opened(open(real, info->flags), info);
}

static int on_create(const char *path, mode_t mode, struct fuse_file_info *info)
{
    BEGIN("create", path);
    return opened(open(real, info->flags | O_CREAT, mode), info);
}

static int on_read(const char *path, char *data, size_t size, off_t at, struct fuse_file_info *info)
{
    BEGIN("read", path);
    ssize_t done = pread(info->fh, data, effect == SHORT && size > 1 ? size / 2 : size, at);
    if (done < 0)
        return -errno;
    if (effect == FLIP && done > 0)
        data[lrand48() % done] ^= 1;
    return done;
}

static int on_write(const char *path, const char *data, size_t size, off_t at,
                    struct fuse_file_info *info)
{
    BEGIN("write", path);
    char *copy = NULL;
    if (effect == SHORT && size > 1)
        size /= 2;
    if (effect == FLIP && size > 0 && (copy = malloc(size))) {
        memcpy(copy, data, size);
        copy[lrand48() % size] ^= 1;
    }
    ssize_t done = pwrite(info->fh, copy ? copy : data, size, at);
    int refusal = errno;
    free(copy);
    return done < 0 ? -refusal : done;
}

static int on_fsync(const char *path, int data_only, struct fuse_file_info *info)
{
    BEGIN("fsync", path);
    DONE(data_only ? fdatasync(info->fh) : fsync(info->fh));
}

static int on_fsyncdir(const char *path, int data_only, struct fuse_file_info *info)
{
    (void)data_only;
    (void)info;
    BEGIN("fsync", path);
    return 0;
}

static int on_flush(const char *path, struct fuse_file_info *info)
{
    BEGIN("flush", path);
    DONE(close(dup(info->fh)));
}

static int on_release(const char *path, struct fuse_file_info *info)
{
    (void)path;
    close(info->fh);
    return 0;
}

static int on_statfs(const char *path, struct statvfs *status)
{
    BEGIN("statfs", path);
    DONE(statvfs(real, status));
}

static int on_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t at,
                      struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
    (void)at;
    (void)info;
    (void)flags;
    BEGIN("readdir", path);
    struct dirent *entry;
    DIR *directory = opendir(real);
    if (!directory)
        return -errno;
    while ((entry = readdir(directory)))
        if (fill(buffer, entry->d_name, NULL, 0, 0))
            break;
    closedir(directory);
    return 0;
}

static void *on_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    (void)connection;
    config->attr_timeout = config->entry_timeout = config->negative_timeout = 0;
    return NULL;
}

static const struct fuse_operations operations = {
    .init = on_init, .getattr = on_getattr, .readlink = on_readlink, .mkdir = on_mkdir,
    .unlink = on_unlink, .rmdir = on_rmdir, .symlink = on_symlink, .rename = on_rename,
    .link = on_link, .chmod = on_chmod, .chown = on_chown, .truncate = on_truncate,
    .utimens = on_utimens, .open = on_open, .create = on_create, .read = on_read,
    .write = on_write, .fsync = on_fsync, .fsyncdir = on_fsyncdir, .flush = on_flush,
    .release = on_release, .statfs = on_statfs, .readdir = on_readdir,
};

int main(int count, char **words)
{
    char struck[2100];
    if (count < 4 || *words[2] != '/' || !realpath(words[1], source)) {
        fprintf(stderr, "usage: faultfs SOURCE /ABSOLUTE/RULES MOUNTPOINT [fuse options]\n");
        return 2;
    }
    snprintf(rules_file, sizeof rules_file, "%s", words[2]);
    snprintf(struck, sizeof struck, "%s.struck", rules_file);
    struck_fd = open(struck, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    umask(0);
    words[2] = words[0];
    return fuse_main(count - 2, words + 2, &operations, NULL);
}
