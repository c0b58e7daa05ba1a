"""Addresses of servers: whatever is typed gets a sentence before anything is loaded."""

import argparse
import socket

import pytest

from cyclegan.cli.ports import check_port, port
from cyclegan.errors import ConfigError


@pytest.mark.parametrize("host", [
    "a" * 300, "a" * 100 + ".example", "..", "a\0b", "\ud800", "256.256.256.256", "http://localhost", "localhost:80",
    "*", "[::1]", "a b",
])  # fmt: skip
def test_an_address_that_cannot_be_one_is_a_sentence(host, monkeypatch):
    def unknown(name, *_, **__):
        name.encode("idna") if name else None  # As the real one, which refuses some names before it asks the network.
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConfigError, match="can't be served .*: choose another port, as in --port 7861, or another"):
        check_port(host, 7860)


@pytest.mark.parametrize("host", ["", " "])
def test_an_empty_address_is_not_every_address(host):
    with pytest.raises(ConfigError, match="--host is empty: give an address such as 127.0.0.1"):
        check_port(host, 7860)


@pytest.mark.parametrize("text", ["0", "65536", "-1", "+80", "8e3", "", " 80", "٣", "9" * 5000])
def test_a_port_is_a_number_of_1_to_65535(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a port: 1 to 65535"):
        port(text)
    assert port("7860") == 7860
