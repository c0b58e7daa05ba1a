"""A server's port and address, checked before seconds of loading."""

from __future__ import annotations

import argparse
import ipaddress
import socket

from cyclegan.errors import ConfigError


def port(text: str) -> int:
    """Return a `--port` flag's value; the flag's type."""
    if text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port: 1 to 65535")


def is_loopback(host: str) -> bool:
    """Return True if only this computer can reach a server at `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_port(host: str, port: int) -> None:
    """Raise ConfigError if `host:port` can't be served; call it before seconds of loading."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise ConfigError(
            "{host}:{port} can't be served ({reason}): choose another port, as in --port {other}, or another --host",
            host=host, port=port, reason=error.strerror or error, other=port % 65535 + 1,
        ) from error
