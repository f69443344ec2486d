/* A thread that is blocked in send() to a peer that has half-closed and does not read. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int server;
static char block[1 << 20];

static void *writer(void *unused)
{
    prctl(PR_SET_NAME, "writer");
    for (;;)
        send(server, block, sizeof block, MSG_NOSIGNAL);
    return unused;
}

int main(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t length = sizeof address;
    pthread_t thread;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);

    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    bind(listener, (void *)&address, sizeof address);
    listen(listener, 1);
    getsockname(listener, (void *)&address, &length);
    connect(client, (void *)&address, sizeof address);
    server = accept(listener, NULL, NULL);
    shutdown(client, SHUT_WR);
    pthread_create(&thread, NULL, writer, NULL);
    /* Until the buffers are full and the thread sleeps. */
    usleep(300000);
    puts("ready");
    fflush(stdout);
    pthread_join(thread, NULL);
}
