"""Ports for servers that tests start."""

import secrets
import socket

FIRST, COUNT = 20_000, 12_000
"""Below the ports that the system gives to whoever connects somewhere (Linux: from 32,768)."""


def free_port() -> int:
    """A port that nobody listens on.

    Drawn at random: of two processes that ask at the same moment neither gets the other's, and no
    connection takes it while its server is down for a restart.
    """
    while True:
        port = FIRST + secrets.randbelow(COUNT)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
