"""The shortest program that does what a write must do: splice a pipe to files, hash them, PUT them.

    reference_put.py PORT CONTAINER DIRECTORY <STREAM

It survives nothing and checks nothing but the status: no journal, no retries, no chain. What is faster than
our write can only be faster than this by leaving out more.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import queue
import socket
import sys
import threading

BLOCK = 4 * 1024 * 1024
PIECE = 256 * 1024
THREADS = 4


def put(sock: socket.socket, target: str, file: int, size: int, memory: memoryview) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    for at in range(0, size, PIECE):
        digest.update(memory[: os.preadv(file, [memory[: size - at]], at)])
    md5 = base64.b64encode(digest.digest()).decode()
    head = f"PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\nContent-MD5: {md5}\r\n\r\n"
    sock.sendall(head.encode())
    at = 0
    while at < size:
        at += os.sendfile(sock.fileno(), file, at, size - at)
    if size and not sock.recv(65536).startswith(b"HTTP/1.1 201"):
        os._exit(1)


def work(port: int, container: str, blocks: queue.Queue[tuple[int, int, int] | None]) -> None:
    memory = memoryview(bytearray(PIECE))
    with socket.create_connection(("127.0.0.1", port)) as sock:
        while (block := blocks.get()) is not None:
            number, file, size = block
            put(sock, f"/devstoreaccount1/{container}/{number}", file, size, memory)
            os.close(file)


def main(port: int, container: str, directory: str) -> None:
    fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, 1024 * 1024)
    blocks: queue.Queue[tuple[int, int, int] | None] = queue.Queue(THREADS)
    threads = [threading.Thread(target=work, args=(port, container, blocks)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    number, more = 0, True
    while more:
        path = os.path.join(directory, str(number))
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.unlink(path)
        size = 0
        while size < BLOCK and (moved := os.splice(0, file, BLOCK - size, offset_dst=size)):
            size += moved
        more = size == BLOCK
        blocks.put((number, file, size))
        number += 1
    for _ in threads:
        blocks.put(None)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
