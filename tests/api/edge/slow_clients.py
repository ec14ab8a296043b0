"""Thousands of clients that send their headers a byte at a time: a process with file descriptors of its own.

It says `open` when all are connected, goes on until its standard input ends, and says how many the server has kept.
"""

import errno
import select
import socket
import sys

from waypost.cli.serve import raise_descriptors

#: Where they come from, so that none reaches the limit per address: on Linux, every 127.x.x.x is this machine.
ADDRESSES = [f"127.0.0.{last}" for last in range(2, 10)] if sys.platform == "linux" else ["127.0.0.1"]
HEAD = b"POST /v1/track HTTP/1.1\r\nHost: a\r\nX-Slow: "
#: Each client sends a byte a second. Some send every so often, so that the server never gets all of them at once.
PARTS = 50


def connect(port: int, number: int) -> socket.socket:
    """Connect a client and send the beginning of a request."""
    client = socket.create_connection(("127.0.0.1", port), 20, (ADDRESSES[number % len(ADDRESSES)], 0))
    client.sendall(HEAD)
    client.setblocking(False)
    return client


def is_kept(client: socket.socket) -> bool:
    """Whether the server has neither answered nor closed the connection."""
    try:
        client.recv(1)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EWOULDBLOCK)
    return False


def drip(client: socket.socket) -> None:
    """Send one more byte, unless the server has closed the connection: that is counted in the end."""
    try:
        client.send(b"a")
    except ConnectionError:
        return


def say(line: str) -> None:
    """Tell the process that started this one."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Open as many clients as the second argument says, to the port that the first one names."""
    raise_descriptors()
    port, count = int(sys.argv[1]), int(sys.argv[2])
    clients = [connect(port, number) for number in range(count)]
    say("open")
    turn = 0
    while not select.select([sys.stdin], [], [], 1 / PARTS)[0]:
        for client in clients[turn % PARTS :: PARTS]:
            drip(client)
        turn += 1
    say(str(sum(map(is_kept, clients))))


if __name__ == "__main__":
    main()
