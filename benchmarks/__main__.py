"""The list of the benchmarks: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap

from benchmarks.catalogue import describe, runnable


def main() -> None:
    """Print what each benchmark shows, takes and writes."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="List the benchmarks. `python -m benchmarks.NAME` runs one, and "
        "`python -m benchmarks.NAME --help` lists its flags.",
    )  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="NAME", help="list only these")
    args, flags = parser.parse_known_args()
    known = runnable()
    if unknown := [name for name in args.names if name not in known]:
        parser.error(f"no benchmark is called {unknown[0]}: choose from {', '.join(known)}")
    if flags:
        parser.error(f"{flags[0]}: this only lists; python -m benchmarks.NAME runs a benchmark with its flags")
    lines = []
    for name in args.names or known:
        found = describe(name)
        lines.append(f"python -m benchmarks.{name}")
        for sentence in (found.shows, f"Takes {found.takes}.", f"Writes {found.writes}."):
            lines.append(textwrap.fill(sentence, 116, initial_indent="    ", subsequent_indent="    "))
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:  # `… | head` has read enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + 13)


if __name__ == "__main__":
    main()
