"""A server's port and address, checked before seconds of loading."""

from __future__ import annotations

import argparse
import ipaddress
import socket

from cyclegan.errors import ConfigError, reason_of


def port(text: str) -> int:
    """Return a port's number: the type of a `--port` flag."""
    if text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port: 1 to 65535")


def is_loopback(host: str) -> bool:
    """Return whether only this computer can reach a server at `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_port(host: str, port: int) -> None:
    """Raise ConfigError if a server can't listen at `host:port`."""
    if not host.strip():
        raise ConfigError("--host is empty: give an address such as 127.0.0.1, or 0.0.0.0 for the whole network")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, ValueError) as error:  # ValueError: a name that is too long, or with characters no name has.
        raise ConfigError(
            "{host}:{port} can't be served ({reason}): choose another port, as in --port {other}, or another --host",
            host=host, port=port, reason=reason_of(error), other=port % 65535 + 1,
        ) from error  # fmt: skip
