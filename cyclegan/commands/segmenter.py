"""`python -m cyclegan segmenter`: train a network that gives each pixel its class, and check how good a judge it is."""

from __future__ import annotations

import argparse
import dataclasses
import errno
import json
import math
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cyclegan.cli.flags import command_adder, device, file_path, positive
from cyclegan.cli.progress import progress_bar
from cyclegan.errors import ConfigError, DataError, number_of

if TYPE_CHECKING:
    from tqdm import tqdm

    from cyclegan.data import Domain
    from cyclegan.data.domains import Splits
    from cyclegan.data.labels import Classes
    from cyclegan.evaluation.scores.prior import Prior
    from cyclegan.evaluation.segmenter import Check, Segmenter

NETWORKS = {"unet": "a U-Net of 0.76 M parameters", "lraspp": "torchvision's LR-ASPP on MobileNetV3, 3.2 M",
            "lite0": "EfficientNet-Lite0 with its weights of ImageNet, 3.1 M"}  # fmt: skip
LEAST_SIZE = 32
"""The networks halve a picture up to five times."""


def add_segmenter_commands(add_command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add `segmenter` and its subcommands with a function from `cli.flags.command_adder`."""
    # A subcommand is required, so its function replaces the first one.
    parser = add_command("segmenter", lambda _: None, "train and check a network that gives each pixel its class")
    add = command_adder(parser)

    sub = add("train", train, "train one on a data set's own pictures and labels")
    _add_data_flags(sub)
    sub.add_argument("--size", type=_size, default=128, metavar="N",
                     help="width and height in pixels at which it looks at pictures: that of the pictures to be judged")
    sub.add_argument("--output", required=True, type=file_path, metavar="DIR", help="folder to write, empty or new")
    sub.add_argument("--network", choices=tuple(NETWORKS), default="unet",
                     help="; ".join(f"{name}: {about}" for name, about in NETWORKS.items()))
    length = sub.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=positive, default=24, metavar="N", help="passes through all pictures")
    length.add_argument("--minutes", type=_minutes, default=None, metavar="N",
                        help="train for so long instead; the result then depends on the machine's speed")
    sub.add_argument("--class_weights", action="store_true",
                     help="weigh rare classes up: better class figures, fewer pixels that are right")
    sub.add_argument("--max_images", type=positive, default=None, metavar="N",
                     help="use at most this many training pictures per domain (default: all; each takes 4 × size² "
                     "bytes of memory)")
    sub.add_argument("--seed", type=_seed, default=0, metavar="N", help="of the weights and of the pictures' order")
    _add_device_flag(sub)

    sub = add("check", check, "compare one with real pictures' labels, and with answers that need no picture")
    sub.add_argument("segmenter", nargs="?", type=file_path, default=None, metavar="DIR",
                     help="folder of the segmenter (default: the one for streets, which comes with the package)")
    _add_data_flags(sub)
    sub.add_argument("--json", action="store_true", help="print the result as JSON")
    _add_device_flag(sub)


def _add_data_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, metavar="DATA",
                        help="as for training: a folder with labels/ and classes.json (python -m cyclegan classes "
                        "writes it), or streets")
    parser.add_argument("--domain", required=True, choices=("a", "b", "ab"),
                        help="the domain whose real pictures are segmented; ab: both, by one network")


def _add_device_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1, mps; chosen if not given")


def _size(text: str) -> int:
    from cyclegan.evaluation.segmenter import MOST_SIDE

    if not LEAST_SIZE <= (size := positive(text)) <= MOST_SIDE:
        raise argparse.ArgumentTypeError(f"{text} is out of range: the networks take {LEAST_SIZE} to {MOST_SIDE}")
    return size


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2^63 - 1")
    return int(text)


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes above 0")
    return value


def train(args: argparse.Namespace) -> int:
    """Train a segmenter, write it, and print its figures."""
    from cyclegan.evaluation.segmenter import check_segmenter, save_segmenter

    _check_output(args.output)
    splits, classes = _open(args)
    tests = {side: _test_domain(splits, side) for side in args.domain}
    try:
        segmenter, priors = _trained(args, splits, classes, tests)
    except KeyboardInterrupt:
        print(
            f"stopped: {args.output} isn't written, because a segmenter that was stopped early would judge badly; "
            "--epochs or --minutes makes the training shorter",
            file=sys.stderr,
        )
        return 130
    with _checking(*tests.values()) as bar:
        checks = {side: check_segmenter(segmenter, tests[side], priors[side], bar.update) for side in tests}
    about = {
        **segmenter.about, "dataset": args.dataset, "domains": args.domain, "command": _command(args),
        "scores": {side: found.summary(classes) for side, found in checks.items()},
    }  # fmt: skip
    save_segmenter(dataclasses.replace(segmenter, about=about), args.output)
    for found in checks.values():
        print(_table(found, classes, args.size))
    where = " ".join(map(shlex.quote, (str(args.output), "--dataset", args.dataset, "--domain", args.domain)))
    print(f"written to {args.output}; these figures again: python -m cyclegan segmenter check {where}")
    return 0


def _trained(
    args: argparse.Namespace, splits: Splits, classes: Classes, tests: Mapping[str, Domain]
) -> tuple[Segmenter, dict[str, Prior]]:
    """Return a trained segmenter, and for each domain the prior of its training labels."""
    from cyclegan.evaluation.scores.prior import prior_of, square_labels
    from cyclegan.evaluation.segmenter import square_config
    from cyclegan.evaluation.segmenter_training import Labelled, read_labelled, train_segmenter

    place = device(args.device) or _default_device()
    config = square_config(args.size, max_images=args.max_images)
    domains = {side: _domain(splits, side, "train") for side in args.domain}
    total = sum(min(len(domain), args.max_images or len(domain)) for domain in domains.values())
    total += sum(map(len, tests.values()))
    with progress_bar(desc="Reading pictures", unit="picture", total=total, delay=0.5) as bar:
        for domain in tests.values():  # A picture or label map that is missing there shows before the training.
            for index in range(len(domain)):
                square_labels(domain, index, config)
                domain.load(index)
                bar.update(1)
        parts = {side: read_labelled(domain, config, bar.update) for side, domain in domains.items()}
    priors = {side: prior_of(part.labels, classes.count) for side, part in parts.items()}
    look = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]"
    with progress_bar(desc="Training", total=1.0, bar_format=look) as bar:

        def show(share: float, loss: float) -> None:
            bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            bar.update(share - bar.n)

        segmenter = train_segmenter(
            Labelled.joined(list(parts.values())), classes, network=args.network, seed=args.seed,
            epochs=args.epochs, minutes=args.minutes, class_weights=args.class_weights, device=place, progress=show,
        )  # fmt: skip
    return segmenter, priors


def check(args: argparse.Namespace) -> int:
    """Print a segmenter's figures on a data set's real pictures."""
    from cyclegan.evaluation.scores.prior import blind_prior
    from cyclegan.evaluation.segmenter import check_segmenter, load_segmenter, square_config

    splits, classes = _open(args)
    place = device(args.device) or _default_device()
    segmenter = load_segmenter(args.segmenter, classes, device=place)
    summaries = {}
    for side in args.domain:
        known, tests = _domain(splits, side, "train"), _test_domain(splits, side)
        with _checking(known, tests) as bar:
            prior = blind_prior(known, classes, square_config(segmenter.side), bar.update)
            found = check_segmenter(segmenter, tests, prior, bar.update)
        summaries[side] = found.summary(classes)
        if not args.json:
            print(_table(found, classes, segmenter.side))
    if args.json:
        print(json.dumps(summaries, indent=2, ensure_ascii=False))
    return 0


def _checking(*domains: Domain) -> tqdm:
    """Return a bar for the pictures and label maps that a check reads."""
    return progress_bar(desc="Checking", unit="picture", total=sum(map(len, domains)), delay=0.5, leave=False)


def _default_device() -> str:
    from cyclegan.translation.translator import default_device

    return default_device()


def _check_output(folder: Path) -> None:
    """Refuse a place that can't be written, before anything is trained."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError("--output {folder} is not an empty folder: give a new or an empty one", folder=folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(folder.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigError(
            "--output {folder} can't be used ({reason}): choose another folder", folder=folder, reason=error
        ) from error


def _open(args: argparse.Namespace) -> tuple[Splits, Classes]:
    """Return the data set and its classes, after a check that its pictures can be segmented."""
    from cyclegan.config import DataConfig
    from cyclegan.data import find_data
    from cyclegan.evaluation.segmenter import require_classes

    splits = find_data(DataConfig(dataset=args.dataset))
    classes = require_classes(splits.classes, args.dataset)
    if splits.label_domain is not None and splits.label_domain in args.domain:
        raise DataError(
            "the pictures of domain {side} in {dataset} are colour-coded label maps, in which every colour is a class "
            "by itself: segment the other domain, with --domain {other}",
            side=splits.label_domain, dataset=args.dataset, other="a" if splits.label_domain == "b" else "b",
        )  # fmt: skip
    return splits, classes


def _domain(splits: Splits, side: str, split: str) -> Domain | None:
    return getattr(splits, f"{split}_{side}")


def _test_domain(splits: Splits, side: str) -> Domain:
    """Return the test pictures, or with a note the training pictures."""
    if (domain := _domain(splits, side, "test")) is not None:
        return domain
    print(
        "note: the data set has no test pictures, so the figures are those of training pictures, which flatter",
        file=sys.stderr,
    )
    return _domain(splits, side, "train")


def _command(args: argparse.Namespace) -> str:
    """Return the command that trains the same segmenter, without its output."""
    words = ["--dataset", args.dataset, "--domain", args.domain, "--size", args.size, "--network", args.network]
    words += ["--epochs", args.epochs] if args.minutes is None else ["--minutes", args.minutes]
    words += ["--max_images", args.max_images] if args.max_images else []
    words += ["--class_weights"] if args.class_weights else []
    return shlex.join(["python", "-m", "cyclegan", "segmenter", "train", *map(str, [*words, "--seed", args.seed])])


def _table(found: Check, classes: Classes, side: int) -> str:
    """Return the figures as a table of text, a column for each answer, and a warning if the network is no judge."""
    answers = (found.network, found.prior, found.commonest)
    absent = [name for number, name in enumerate(classes.scored) if number not in found.network.occurring]
    rows = [("pixel accuracy", [each.pixel for each in answers])]
    for name, attribute in (("class accuracy", "classes"), ("class IoU", "iou")):
        rows.append((name, [getattr(each, attribute) for each in answers]))
        if absent:
            rows.append((f"{name}, classes that occur", [getattr(each, f"{attribute}_occurring") for each in answers]))
    rows += [
        (f"IoU of {name}", [each.iou_by_class[number] for each in answers])
        for number, name in enumerate(classes.scored) if name not in absent
    ]  # fmt: skip
    heads = ["segmenter", "blind prior", f"all {classes.scored[found.commonest_class]}"]
    width, widths = max(len(name) for name, _ in rows), [max(12, len(head)) for head in heads]

    def line(name: str, cells: Sequence[str]) -> str:
        return f"{name:<{width}}" + "".join(f"  {cell:>{wide}}" for cell, wide in zip(cells, widths, strict=True))

    lines = [
        f"{number_of(found.pictures, 'real picture')} ({found.part}) at {side}×{side}", line("", heads),
        *(line(name, [f"{value:.3f}" for value in values]) for name, values in rows),
        "blind prior: the commonest class of each position in the training labels",
    ]  # fmt: skip
    if absent:
        lines.append(f"never in these labels, so 0 in the means: {', '.join(absent)}")
    blind = (found.prior, found.commonest)
    if any(found.network.pixel <= each.pixel or found.network.iou <= each.iou for each in blind):
        lines.append("warning: the segmenter is hardly better than an answer without looking: train it for longer")
    return "\n".join([*lines, ""])
