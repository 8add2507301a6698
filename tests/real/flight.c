/* Writes N MiB to the printer through libusb's asynchronous interface, eight transfers in flight, and reads an answer.
 * Prints "written OCTETS" and "answer TEXT". With a third argument it takes the last transfers back instead. */
#include <libusb-1.0/libusb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLIGHT = 8, CHUNK = 65536, BULK_OUT = 0x01, BULK_IN = 0x82 };

static long left, written;
static int flying, cancelled, failed;

static void done(struct libusb_transfer *transfer)
{
    flying--;
    written += transfer->actual_length;
    if (transfer->status == LIBUSB_TRANSFER_CANCELLED)
        cancelled++;
    else if (transfer->status != LIBUSB_TRANSFER_COMPLETED)
        failed = transfer->status;
    else if (left > 0) {
        left -= CHUNK;
        flying += libusb_submit_transfer(transfer) == 0;
    }
}

int main(int count, char **arguments)
{
    struct libusb_transfer *transfers[FLIGHT];
    unsigned char answer[1024] = {0};
    int got = 0;

    left = atol(arguments[1]) << 20;
    libusb_init(NULL);
    libusb_device_handle *handle = libusb_open_device_with_vid_pid(NULL, 0x04da, 0x1500);
    if (handle == NULL || libusb_claim_interface(handle, 0) != 0)
        return 2;
    for (int i = 0; i < FLIGHT; i++) {
        transfers[i] = libusb_alloc_transfer(0);
        unsigned char *data = malloc(CHUNK);
        memset(data, 'x', CHUNK);
        libusb_fill_bulk_transfer(transfers[i], handle, BULK_OUT, data, CHUNK, done, NULL, 0);
        left -= CHUNK;
        flying += libusb_submit_transfer(transfers[i]) == 0;
    }
    if (count > 2) {
        left = 0;
        for (int i = 0; i < FLIGHT; i++)
            libusb_cancel_transfer(transfers[i]);
    }
    while (flying > 0)
        libusb_handle_events(NULL);
    printf("written %ld\ncancelled %d\nfailed %d\n", written, cancelled, failed);
    if (libusb_bulk_transfer(handle, BULK_IN, answer, sizeof answer - 1, &got, 1000) == 0)
        printf("answer %.*s\n", got, answer);
    return 0;
}
