"""Flags of `study build` for the consent in the owner's words and for questions."""

from __future__ import annotations

import argparse
from typing import Any

from cyclegan.cli import flags
from cyclegan.errors import ConfigError
from cyclegan.study.consent import read_consent
from cyclegan.study.questions import read_questions


def add_asks_flags(sub: argparse.ArgumentParser) -> None:
    """Add the flags."""
    sub.add_argument("--consent", type=flags.file_path, nargs="+", default=None, metavar="FILE",
                     help="what participants agree to first, in your words: Markdown (.md) or plain text (.txt); then "
                     "its translations, named as in consent.ko.md")
    sub.add_argument("--consent_version", default="", metavar="TEXT",
                     help="version of that text, kept with each session")
    sub.add_argument("--ethics", default="", metavar="TEXT",
                     help="number of the ethics approval, shown under that text")
    sub.add_argument("--questions", type=flags.file_path, default=None, metavar="FILE",
                     help="YAML file of up to ten questions before or after the pictures (docs/study.md)")


def asks_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return consent and questions, as `make_study` takes them; raise StudyError if a file can't be asked."""
    if args.consent is None and (args.consent_version or args.ethics):
        raise ConfigError("--consent_version and --ethics are about the text of --consent: name its file")
    consent = None
    if args.consent is not None:
        first, *others = args.consent
        consent = read_consent(first, translations=others, version=args.consent_version, ethics=args.ethics)
    return {"consent": consent, "questions": read_questions(args.questions) if args.questions else ()}
