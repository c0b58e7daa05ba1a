"""`python -m cyclegan classes`: the classes of a data set's labels."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from cyclegan.cli.flags import file_path
from cyclegan.errors import ConfigError, number_of


def add_label_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command `classes`."""
    sub = add("classes", classes, "find the classes of a data set's label maps, and write them to DATA/classes.json")
    sub.add_argument("data", type=file_path, metavar="DATA",
                     help="folder of the data set, with label maps in DATA/labels, or with coloured ones as a domain")
    sub.add_argument("--names", type=_listed, default=(), metavar="NAME,NAME",
                     help="names of the classes 0, 1, … (default: class_0, class_1, …)")
    sub.add_argument("--void", type=_listed, default=(), metavar="NAME,NAME",
                     help="names or numbers of the classes that no score counts, e.g. Unlabelled; 255 is always void")
    sub.add_argument("--label_domain", choices=("a", "b"),
                     help="domain whose pictures are label maps in the classes' colours (default: found)")
    sub.add_argument("--overwrite", action="store_true", help="replace an existing classes.json")


def _listed(text: str) -> tuple[str, ...]:
    """Return names from "sky, road"."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} isn't a list of different names with commas between them")
    return names


def classes(args: argparse.Namespace) -> int:
    """Write DATA/classes.json and print the classes."""
    from cyclegan.data import open_folder
    from cyclegan.data.find_classes import find_classes
    from cyclegan.data.labels import classes_file, write_classes

    if not args.data.is_dir():
        raise ConfigError("there is no folder {data}: give the folder of a data set", data=args.data)
    if (old := classes_file(args.data)) and not args.overwrite:
        raise ConfigError("{file} is there already: edit it, or replace it with --overwrite", file=old)
    splits = open_folder(args.data, ("a", "b"))
    found = find_classes(args.data, splits, names=args.names, void=args.void, label_domain=args.label_domain)
    path = write_classes(args.data, found.classes, found.label_domain)
    width = max(map(len, found.classes.names))
    for index, (name, color, share) in enumerate(
        zip(found.classes.names, found.classes.colors, found.shares, strict=True)
    ):
        mark = "  void" if index in found.classes.void else "" if share else "  not in the label maps"
        print(f"{index:3} {name:{width}}  #{bytes(color).hex()}  {share:6.1%}{mark}")
    maps = f"{number_of(found.maps, 'label map')}; " if found.maps else ""
    colors = {
        "pictures": f"domain {found.label_domain}'s pictures", "maps": "the label maps",
        "default": "a palette of distinct ones",
    }[found.colors_from]
    coded = found.label_domain or "none"
    print(f"{maps}colours from {colors}; domain of label maps in these colours: {coded}")
    print(f"{number_of(found.classes.count, 'class', 'classes')} to score, and {len(found.classes.void)} void, written "
          f"to {path}: correct names, colours and void there")  # fmt: skip
    return 0
