/* What a guest's busybox cannot do with a printer: one descriptor for both ways, and the device id by ioctl.
 *
 *   lp id DEVICE                 the IEEE 1284 device id, as the kernel's usblp gives it
 *   lp status DEVICE             the three status lines as the octet of GET_PORT_STATUS
 *   lp talk DEVICE FILE SECONDS  writes FILE ("-" is standard input); then prints what the printer says, up to the
 *                                form feed that ends a PJL answer; code 3 if that has not come in SECONDS
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define DEVICE_ID_SIZE 1024
#define GET_DEVICE_ID _IOC(_IOC_READ, 'P', 1, DEVICE_ID_SIZE) /* drivers/usb/class/usblp.c */
#define GET_STATUS 0x060b                                      /* LPGETSTATUS of linux/lp.h */
#define CHUNK 65536
#define FORM_FEED 0x0c
#define NO_ANSWER 3

static int fail(const char *what)
{
    fprintf(stderr, "lp: %s: %s\n", what, strerror(errno));
    return 1;
}

static int copy_out(int from, int device)
{
    static char chunk[CHUNK];
    ssize_t count;
    while ((count = read(from, chunk, sizeof chunk)) > 0)
        for (ssize_t at = 0; at < count;) {
            ssize_t written = write(device, chunk + at, count - at);
            if (written < 0 && errno == EAGAIN) {
                struct pollfd writable = {.fd = device, .events = POLLOUT};
                poll(&writable, 1, 1000);
            } else if (written < 0)
                return fail("write");
            else
                at += written;
        }
    return count < 0 ? fail("read") : 0;
}

static long milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000L + now.tv_nsec / 1000000L;
}

static int talk(int device, const char *path, int seconds)
{
    static char answer[CHUNK];
    int file = strcmp(path, "-") ? open(path, O_RDONLY) : 0;
    if (file < 0)
        return fail(path);
    if (copy_out(file, device))
        return 1;
    struct pollfd readable = {.fd = device, .events = POLLIN};
    long end = milliseconds() + seconds * 1000L, left;
    while ((left = end - milliseconds()) > 0 && poll(&readable, 1, left) > 0) {
        ssize_t count = read(device, answer, sizeof answer);
        if (count < 0 && errno == EAGAIN)
            continue;
        if (count < 0)
            return fail("read");
        fwrite(answer, 1, count, stdout);
        if (memchr(answer, FORM_FEED, count))
            return 0;
    }
    fflush(stdout);
    fprintf(stderr, "lp: no form feed in %d s\n", seconds);
    return NO_ANSWER;
}

int main(int count, char **words)
{
    if (count < 3)
        return 2;
    int device = open(words[2], O_RDWR | (strcmp(words[1], "talk") ? 0 : O_NONBLOCK));
    if (device < 0)
        return fail(words[2]);
    if (!strcmp(words[1], "id")) {
        unsigned char id[DEVICE_ID_SIZE] = {0};
        if (ioctl(device, GET_DEVICE_ID, id) < 0)
            return fail("device id");
        printf("%.*s\n", (id[0] << 8 | id[1]) - 2, id + 2);
        return 0;
    }
    if (!strcmp(words[1], "status")) {
        int status = 0;
        if (ioctl(device, GET_STATUS, &status) < 0)
            return fail("status");
        printf("0x%02x\n", status);
        return 0;
    }
    return count == 5 ? talk(device, words[3], atoi(words[4])) : 2;
}
