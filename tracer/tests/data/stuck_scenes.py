"""One leaking program for each reason why a socket stays in CLOSE_WAIT.

Usage: stuck_scenes.py SCENE. Prints "ready" once the socket is stuck.
"""

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
IN, OUT, PRI = select.EPOLLIN, select.EPOLLOUT, select.EPOLLPRI
EDGE, ONESHOT = select.EPOLLET, select.EPOLLONESHOT
# Long enough for a process that starts now to be younger than the socket, whatever the clock.
OLDER = 0.3


def connection():
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    return client, server


def stuck():
    client, server = connection()
    client.close()
    return server


def ready():
    print("ready", flush=True)


def sleep():
    ready()
    time.sleep(1000)


def die_with_parent():
    LIBC.prctl(1, signal.SIGKILL)


def epoll(server, events):
    chosen = select.epoll()
    chosen.register(server, events)
    return chosen


def no_set():
    server = stuck()
    sleep()
    server.close()


def in_no_set():
    server = stuck()
    pipe = os.pipe()
    chosen = epoll(pipe[0], IN)
    ready()
    chosen.poll()
    server.close()


def no_read_events():
    chosen = epoll(server := stuck(), PRI)
    ready()
    chosen.poll()
    server.close()


def level():
    chosen = epoll(server := stuck(), IN)
    sleep()
    chosen.close()
    server.close()


def busy():
    chosen = epoll(server := stuck(), IN)
    ready()
    while chosen.poll():
        pass
    server.close()


def edge():
    chosen = epoll(server := stuck(), IN | EDGE)
    chosen.poll()
    ready()
    chosen.poll()
    server.close()


def edge_nested():
    chosen = epoll(server := stuck(), IN | EDGE)
    outer = epoll(chosen, IN)
    outer.poll()
    chosen.poll()
    ready()
    outer.poll()
    server.close()


def oneshot():
    chosen = epoll(server := stuck(), IN | ONESHOT)
    chosen.poll()
    ready()
    chosen.poll()
    server.close()


def number_closed():
    server = stuck()
    duplicate = os.dup(server.fileno())
    chosen = epoll(server, PRI)
    server.close()
    ready()
    chosen.poll()
    os.close(duplicate)


def deadlock():
    server = stuck()
    one, other = threading.Lock(), threading.Lock()
    one.acquire()
    other.acquire()
    threading.Thread(target=one.acquire).start()
    ready()
    other.acquire()
    server.close()


def stopped():
    server = stuck()
    ready()
    os.kill(os.getpid(), signal.SIGSTOP)
    server.close()


def traced():
    server = stuck()
    child = os.fork()
    if child == 0:
        die_with_parent()
        time.sleep(1000)
    server.close()
    # PTRACE_ATTACH, which stops it.
    if LIBC.ptrace(16, child, 0, 0) == 0:
        os.waitpid(child, 0)
    else:
        print("ptrace is refused", flush=True)
    sleep()


def leader_exited():
    server = stuck()
    threading.Thread(target=time.sleep, args=(1000,)).start()
    ready()
    # exit(2), of this thread alone.
    LIBC.syscall(int(os.environ["SYS_EXIT"]), 0)
    server.close()


def forked():
    server = stuck()
    time.sleep(OLDER)
    if os.fork() == 0:
        die_with_parent()
        time.sleep(1000)
    sleep()
    server.close()


def run_sleep(server):
    time.sleep(OLDER)
    server.set_inheritable(True)
    return subprocess.Popen(["sleep", "1000"], close_fds=False, preexec_fn=die_with_parent)


def inherited():
    server = stuck()
    child = run_sleep(server)
    sleep()
    child.wait()


def left_to_sleep():
    server = stuck()
    child = run_sleep(server)
    server.close()
    sleep()
    child.wait()


def not_accepted():
    listener = socket.create_server(("127.0.0.1", 0))
    chosen = epoll(listener, OUT)
    client = socket.create_connection(listener.getsockname())
    client.close()
    ready()
    chosen.poll()


def not_accepted_twice():
    listener = socket.create_server(("127.0.0.1", 0))
    chosen = epoll(listener, IN | EDGE)
    for _ in range(2):
        socket.create_connection(listener.getsockname()).close()
    chosen.poll()
    # Only one of the two, as a loop that forgets that the event comes once.
    accepted, _ = listener.accept()
    accepted.close()
    ready()
    chosen.poll()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
