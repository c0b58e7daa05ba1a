"""The app: compose the pages, choose where the checkpoints come from, launch."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import hub
from cyclegan.checkpoints.sources import CheckpointSource
from cyclegan.cli.access import Access, access_of, add_flags
from cyclegan.cli.flags import make_parser
from cyclegan.cli.ports import check_port
from cyclegan.cli.signals import end_in_order, leave
from cyclegan.errors import CheckpointError, UserError
from cyclegan.study.shelf import Studies

DEMO, STUDIES = Path(__file__).parent / "demo", Path("studies")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = make_parser("app.py", "Translate pictures in the browser with CycleGAN checkpoints, and back again.",
                         "example: python app.py --checkpoints runs/maps runs/streets")
    parser.add_argument("--checkpoints", nargs="+", action="extend", metavar="SOURCE",
                        help="folders of runs or single epochs, USER/NAME on the Hub (default: what demo/ holds)")
    parser.add_argument("--cache_mb", type=int, default=2048, metavar="N",
                        help="memory for the weights of the checkpoints used last, in MiB (default: %(default)s)")
    parser.add_argument("--studies", nargs="+", action="extend", metavar="DIR",
                        help="folders of studies to play (default: studies/ and, without --checkpoints, demo/studies/)")
    parser.add_argument("--votes", metavar="USER/NAME",
                        help="private data set on the Hub that keeps the votes too, and gives them to a new machine")
    add_flags(parser)
    return parser


def open_sources(specs: Sequence[str] | None) -> list[CheckpointSource]:
    """Return the runs to show, None for the embedded ones. Raises CheckpointError: see `hub.open_sources`."""
    specs = specs or sorted({str(path.parent) for path in DEMO.rglob("epoch-*")})
    if not specs:
        raise CheckpointError("demo/ holds no run: name one, as in python app.py --checkpoints runs/maps")
    sources, problems = hub.open_sources(specs)
    for problem in problems:
        logging.warning("%s", problem)
    return sources


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted; return the exit status."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    end_in_order()
    places = [STUDIES] if args.checkpoints else [DEMO / "studies", STUDIES]
    folders = args.studies or [place for place in places if any(place.glob("*/study.json"))]
    later = [] if args.studies else [place for place in places if place not in folders]
    try:
        with contextlib.suppress(KeyboardInterrupt):  # By Ctrl-C or SIGTERM, also while loading.
            access = access_of(args)
            sources = open_sources(args.checkpoints)
            check_port(args.host, args.port)
            with hub.open_studies(folders, later=later, own=access.private, votes=args.votes) as shelf:
                _serve(args, access, sources, shelf)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _serve(args: argparse.Namespace, access: Access, sources: list[CheckpointSource], shelf: Studies) -> None:
    from cyclegan.ui import guard, owner, theme, workbench
    from cyclegan.ui.pages import checkpoints, compare, files, scores, studies, translate

    pages = {"": translate, "compare": compare, "files": files, "checkpoints": checkpoints, "scores": scores,
             "studies": studies}
    open_more = hub.opener(own=access.private, most_bytes=args.visitor_mb * 10**6)
    bench = workbench.Workbench(sources, open_more, own=access.private, cache_bytes=args.cache_mb << 20, studies=shelf)
    with theme.composing():
        demo = theme.blocks()
        for path, page in pages.items():
            with demo.route(path, path, show_in_navbar=False) if path else demo:
                page.build(bench)
        demo.queue(max_size=1024, api_open=False)
    served = guard.behind(access, demo, **owner.served(shelf))
    options = theme.launch_options([page.CSS for page in pages.values()], own=access.private, **served)
    demo.launch(server_name=args.host, server_port=args.port, share=args.share, prevent_thread_lock=True, **options)
    with contextlib.closing(demo):  # `block_thread` waits 5 s for open pages.
        guard.announce(access, demo.local_url, demo.share_url)
        bench.warm()
        shelf.warm()
        while demo.is_running:
            time.sleep(0.1)


if __name__ == "__main__":
    leave(main())
