/* What a program on ppdev does with a parallel port, the kernel doing the handshake of each mode.
 *
 *   ppdev send DEVICE MODE FILE      negotiates MODE, writes FILE
 *   ppdev receive DEVICE MODE COUNT  negotiates MODE, prints up to COUNT octets
 *   ppdev address DEVICE MODE OCTET  negotiates MODE, one of EPP; writes the address, prints what is read back
 *
 * MODE is a number of linux/parport.h: 0 nibble, 1 byte, 0x10 ECP, 0x30 ECP with run lengths, 0x40 EPP by the port's
 * hardware, 0x1000 EPP by the kernel, line by line, 0x100 compatibility; with 4 for the device id.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/parport.h>
#include <linux/ppdev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static char octets[1 << 16];

static int fail(const char *what)
{
    fprintf(stderr, "ppdev: %s: %s\n", what, strerror(errno));
    return 1;
}

static int send_file(int port, const char *path)
{
    int file = open(path, O_RDONLY);
    ssize_t size = read(file, octets, sizeof octets);
    if (file < 0 || size < 0)
        return fail(path);
    for (ssize_t at = 0; at < size;) {
        ssize_t count = write(port, octets + at, size - at);
        if (count <= 0)
            return fail("write");
        at += count;
    }
    return 0;
}

static int receive(int port, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t count = read(port, octets + at, size - at);
        if (count <= 0) {
            if (at)
                break;
            return fail("read");
        }
        fwrite(octets + at, 1, count, stdout);
        at += count;
    }
    return 0;
}

/* QEMU's port, unlike a real one, does not turn the data lines round by itself for EPP. */
static void turn(int port, int reverse)
{
    ioctl(port, PPDATADIR, &reverse);
}

static int address(int port, int mode, unsigned char octet)
{
    int with_address = mode | IEEE1284_ADDR;
    ioctl(port, PPSETMODE, &with_address);
    if (write(port, &octet, 1) != 1)
        return fail("write");
    octet = ~octet;
    turn(port, 1);
    if (read(port, &octet, 1) != 1)
        return fail("read");
    printf("0x%02x\n", octet);
    ioctl(port, PPSETMODE, &mode);
    return 0;
}

static int transfer(int port, int mode, const char *verb, const char *what)
{
    if (!strcmp(verb, "send"))
        return send_file(port, what);
    if (!strcmp(verb, "address"))
        return address(port, mode, strtol(what, NULL, 0));
    if (mode & (IEEE1284_MODE_EPP | IEEE1284_MODE_EPPSWE))
        turn(port, 1);
    return receive(port, atoi(what));
}

int main(int count, char **words)
{
    if (count != 5)
        return 2;
    int port = open(words[2], O_RDWR), mode = strtol(words[3], NULL, 0), compatible = IEEE1284_MODE_COMPAT;
    if (port < 0 || ioctl(port, PPCLAIM))
        return fail(words[2]);
    if (mode != compatible && ioctl(port, PPNEGOT, &mode))
        return fail("the mode is refused");
    int result = transfer(port, mode, words[1], words[4]);
    turn(port, 0);
    ioctl(port, PPNEGOT, &compatible);
    ioctl(port, PPRELEASE);
    return result;
}
