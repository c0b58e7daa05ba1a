"""`python -m cyclegan import` and `export`: checkpoints from and to other programs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from cyclegan.cli.flags import file_path, positive
from cyclegan.commands.options import add_checkpoint_flags, load_checkpoint
from cyclegan.config import DIRECTIONS, direction_name


def add_checkpoint_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands `export` and `import`."""
    sub = add("export", export, "write one generator as an ONNX file, for programs without torch")
    add_checkpoint_flags(sub, positional=True)
    sub.add_argument("--format", default="onnx", choices=("onnx",), help="format of the file")
    sub.add_argument("--output", type=file_path, metavar="FILE.onnx",
                     help="file to write, a new one (default: epoch-0012-ab.onnx in the current folder, for epoch 12 "
                     "and ab)")

    sub = add("import", import_weights, "turn weights of the reference implementation into a checkpoint")
    sub.add_argument(
        "--from",
        dest="files",
        required=True,
        type=_weights,
        nargs="+",
        metavar="FILE",
        help="latest_net_G_A.pth and latest_net_G_B.pth, or one of them; latest_net_D_A.pth and latest_net_D_B.pth are "
        "kept for --init_from; hub:USER/NAME:FILE downloads one from the Hub",
    )
    sub.add_argument("--direction", choices=DIRECTIONS,
                     help="which way a generator translates whose name doesn't say it: ab: A → B, ba: B → A")
    sub.add_argument("--output", required=True, type=file_path, metavar="RUN", help="folder of the run to write")
    sub.add_argument("--epoch", type=positive, default=1, metavar="N", help="number of the epoch to write it as")
    sub.add_argument("--domain_a", default="A", help="name of domain A")
    sub.add_argument("--domain_b", default="B", help="name of domain B")
    sub.add_argument("--crop_size", type=positive, default=256, metavar="N", help="size that it was trained at")


def _weights(text: str) -> str:
    """Return a file's path, or `hub:USER/NAME:FILE`."""
    return text if text.startswith("hub:") else str(file_path(text))


def import_weights(args: argparse.Namespace) -> int:
    """Write a checkpoint from `.pth` files of the reference implementation."""
    from cyclegan.checkpoints.import_reference import import_checkpoint

    info, folder = import_checkpoint(
        args.files, args.output, epoch=args.epoch, domain_a=args.domain_a, domain_b=args.domain_b,
        crop_size=args.crop_size, direction=args.direction, find=_fetched,
    )  # fmt: skip
    model, ways = info.config.model, " and ".join(map(direction_name, info.directions))
    print(f"{model.generator}, ngf {model.ngf}, {ways}: written to {folder}")
    return 0


def export(args: argparse.Namespace) -> int:
    """Write one generator as an ONNX file."""
    from cyclegan.checkpoints.export_onnx import INPUT, OPSET, OUTPUT, check_packages, check_path, export_onnx

    check_packages()
    if args.output is not None:  # Checked before anything is downloaded.
        check_path(args.output)
    checkpoint = load_checkpoint(args, one_way=True)
    path = args.output or Path(f"{checkpoint.info.tag}-{args.direction}.onnx")
    done = export_onnx(checkpoint, args.direction, path)
    count, target = (checkpoint.config.data.values(domain).channels for domain in args.direction)
    sizes = ", ".join(f"{n}×{count}×{height}×{width}" for n, height, width in done.checked)
    data, size = checkpoint.config.data, path.stat().st_size / 1e6
    way = direction_name(args.direction, data.domain_a, data.domain_b)
    where = path if args.output else f"{path} in the current folder"
    print(f"{way} of epoch {checkpoint.info.epoch} written to {where}, {size:.1f} MB, ONNX opset {OPSET}")
    to = "" if count == target else f" and (N, {target}, H, W),"
    rgb = ", RGB" if data.plain else ","
    print(f"takes {INPUT}, gives {OUTPUT}: float32 (N, {count}, H, W){to}{rgb} in [-1, 1]; H and W multiples of "
          f"{done.size_multiple}, at least {done.min_size}")  # fmt: skip
    print(f"checked with ONNX Runtime against torch on {sizes}: at most {done.max_difference:.2g} grey levels apart")
    return 0


def _fetched(name: str) -> Path:
    """Return the file itself, or the download of a `hub:` file."""
    if not name.startswith("hub:"):
        return Path(name)
    from hub.source import fetch_file

    return fetch_file(name.removeprefix("hub:"))
