"""Who may open the app: whoever has the token in its address, whoever logs in, or everybody."""

from __future__ import annotations

import argparse
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cyclegan.cli.ports import is_loopback, port
from cyclegan.errors import ConfigError, reason_of

TOKEN_VARIABLE = "CYCLEGAN_TOKEN"
"""Environment variable with the owner's token, for an address that stays the same; otherwise each start draws one."""
LEAST_TOKEN, LEAST_PASSWORD = 16, 8
"""Characters."""


@dataclass(frozen=True)
class Access:
    """Who may open the app, and under which names.

    Attributes:
        private: only whoever has the token comes in, and owns this computer: its folders, its time and its tokens.
        logins: names and passwords; empty: visitors need none.
        hosts: names under which a private app answers, besides those of this computer.
        local: the app is served to this computer only, and answers to no other name.
        token: of the owner.
    """

    private: bool
    logins: Mapping[str, str] = field(default_factory=dict, repr=False)
    hosts: tuple[str, ...] = ()
    local: bool = False
    token: str = field(default="", repr=False)

    @property
    def closed(self) -> bool:
        """True where visitors must prove something."""
        return self.private or bool(self.logins)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags about a server's address and its visitors."""
    parser.add_argument("--host", default="127.0.0.1",
                        help="address to serve at; 0.0.0.0 lets other computers in (default: %(default)s)")
    parser.add_argument("--port", type=port, default=7860, help="port to serve at (default: %(default)s)")
    parser.add_argument("--private", action="store_true",
                        help="let in only whoever has the token in the address that is printed, and treat them as the "
                             "owner of this computer; always so at 127.0.0.1 without --share")
    parser.add_argument("--public", action="store_true",
                        help="let everybody in as a visitor; always so at other addresses than 127.0.0.1, so this is "
                             "for an app behind a reverse proxy on this computer (with --hosts)")
    parser.add_argument("--auth", metavar="FILE",
                        help="let visitors in with a name and a password of this text file, NAME:PASSWORD per line")
    parser.add_argument("--hosts", nargs="+", default=[], metavar="NAME",
                        help="names under which a reverse proxy on this computer passes requests on, such as "
                             "lab.example.org")
    parser.add_argument("--visitor_mb", type=int, default=500, metavar="N",
                        help="weights of an epoch that visitors may open by a repository's name, in MB; 0: none "
                             "(default: %(default)s)")
    parser.add_argument("--share", action="store_true",
                        help="also make a public link, through Gradio's servers; needs --auth or --private")


def access_of(args: argparse.Namespace) -> Access:
    """Return what the flags of `add_flags` say.

    Raises:
        ConfigError: a public link without --auth or --private; flags that contradict each other, or
            a negative number; a file of logins
            that can't be read or has none; a token that can be guessed.
    """
    if args.public and (args.private or args.auth or args.share):
        raise ConfigError("--public lets everybody in: leave it out, or leave out --private, --auth and --share")
    if args.auth and args.private:
        raise ConfigError(
            "--private lets in the owner only, and --auth visitors: give one of them (the owner of an app with --auth "
            "sees the results of studies by a key: docs/study.md)"
        )
    if args.visitor_mb < 0:
        raise ConfigError("--visitor_mb is a number of MB: 0 or more")
    logins = _read_logins(Path(args.auth)) if args.auth else {}
    if args.share and not (logins or args.private):
        raise ConfigError(
            "--share lets anyone on the internet in who finds its link: add --private, so that the link has a token, "
            "or --auth FILE for names and passwords"
        )
    local = is_loopback(args.host) and not args.share
    private = args.private or (local and not logins and not args.public)
    token = os.environ.get(TOKEN_VARIABLE, "")
    if token and (len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token):
        raise ConfigError(
            "{variable} needs at least {least} letters and digits: python -c {program} prints a good one",
            variable=TOKEN_VARIABLE, least=LEAST_TOKEN, program="'import secrets; print(secrets.token_urlsafe())'",
        )  # fmt: skip
    return Access(private, logins, tuple(args.hosts), local, token or secrets.token_urlsafe(24))


def _read_logins(path: Path) -> dict[str, str]:
    try:
        lines = path.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError("--auth: {path} can't be read ({reason})", path=path, reason=reason_of(error)) from error
    logins = {}
    for number, line in enumerate(lines, 1):
        name, colon, password = line.strip().partition(":")
        if not line.strip() or line.startswith("#"):
            continue
        if not (name and colon and len(password) >= LEAST_PASSWORD):
            raise ConfigError(
                "--auth: line {number} of {path} must be NAME:PASSWORD, with a password of at least {least} characters",
                number=number, path=path, least=LEAST_PASSWORD,
            )
        logins[name] = password
    if not logins:
        raise ConfigError("--auth: {path} has no line NAME:PASSWORD", path=path)
    return logins
