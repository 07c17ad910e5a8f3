"""Tries each path on standard input, and prints for each attempt whether it was refused.

A line is a kind and a path: d for a directory, l for one that can only be listed, s for a socket, p for
a process, r for a file that can only be read, f for another one. Nothing is changed: files are opened without truncation, and of directories only the permission is asked.
"""

import errno
import os
import socket
import sys


def connect(path):
    # The name of a socket has to be short.
    os.chdir(os.path.dirname(path))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.path.basename(path))


def make_in(path):
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, "no permission")


def opening(flags):
    return lambda path: os.close(os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))


ATTEMPTS = {
    "d": {"list": os.listdir, "make in": make_in},
    "l": {"list": os.listdir},
    "s": {"connect to": connect, "stat": os.stat},
    "r": {"read": opening(os.O_RDONLY)},
    "f": {"read": opening(os.O_RDONLY), "write": opening(os.O_WRONLY)},
    "p": {"signal": lambda pid: os.kill(int(pid), 0)},
}

for line in sys.stdin.read().splitlines():
    kind, path = line.split(" ", 1)
    for name, attempt in ATTEMPTS[kind].items():
        try:
            attempt(path)
            refused = False
        except OSError as error:
            if error.errno == errno.ENOENT:
                continue
            # Other errors come after the permission was given: nobody listens, a file system is read-only.
            refused = error.errno in (errno.EACCES, errno.EPERM)
        print("refused" if refused else "allowed", name, path)
