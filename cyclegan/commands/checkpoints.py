"""`python -m cyclegan import` and `export`: checkpoints from and to other programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from cyclegan.checkpoints.format import Checkpoint
from cyclegan.cli.flags import positive
from cyclegan.config import DIRECTIONS, Direction
from cyclegan.errors import CheckpointError
from hub import open_source


def add_checkpoint_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands `export` and `import`."""
    sub = add("export", export, "write one generator as an ONNX file, for programs without torch")
    sub.add_argument("source", metavar="SOURCE",
                     help="folder of a run or of one epoch; or USER/NAME, USER/NAME@epoch-0012 on the Hub")
    sub.add_argument("--epoch", default="latest", type=_epoch, metavar="N", help="which epoch, or latest")
    sub.add_argument("--direction", required=True, choices=DIRECTIONS, help="ab: A → B, ba: B → A")
    sub.add_argument("--format", default="onnx", choices=("onnx",), help="format of the file")
    sub.add_argument("--output", type=Path, metavar="FILE.onnx",
                     help="file to write, a new one (default: epoch-0012-ab.onnx, for epoch 12 and ab)")

    sub = add("import", import_weights, "turn weights of the reference implementation into a checkpoint")
    sub.add_argument(
        "--from",
        dest="files",
        required=True,
        nargs="+",
        metavar="FILE",
        help="latest_net_G_A.pth and latest_net_G_B.pth, or one of them; hub:USER/NAME:FILE downloads one from the Hub",
    )
    sub.add_argument("--output", required=True, type=Path, metavar="RUN", help="folder of the run to write")
    sub.add_argument("--epoch", type=positive, default=1, metavar="N", help="number of the epoch to write it as")
    sub.add_argument("--domain_a", default="A", help="name of domain A")
    sub.add_argument("--domain_b", default="B", help="name of domain B")
    sub.add_argument("--crop_size", type=positive, default=256, metavar="N", help="size that it was trained at")


def _epoch(text: str) -> int | None:
    return None if text == "latest" else positive(text)


def import_weights(args: argparse.Namespace) -> int:
    """Write a checkpoint from `.pth` files of the reference implementation."""
    from cyclegan.checkpoints.format import GENERATOR_OF, CheckpointConfig, epoch_name, save_checkpoint
    from cyclegan.checkpoints.import_reference import import_reference
    from cyclegan.config import DataConfig

    target = args.output / epoch_name(args.epoch)
    if target.exists():
        raise CheckpointError("{target} exists already: choose another --epoch or --output", target=target)
    files = [_fetched(name) for name in args.files]
    found = import_reference(files)
    model = next(iter(found.values()))[0]
    data = DataConfig(
        dataset="unknown",
        domain_a=args.domain_a,
        domain_b=args.domain_b,
        crop_size=args.crop_size,
        load_size=round(args.crop_size * 286 / 256),
    )
    data.validate()
    save_checkpoint(
        args.output,
        epoch=args.epoch,
        weights={GENERATOR_OF[direction]: state for direction, (_, state) in found.items()},
        config=CheckpointConfig(model=model, data=data),
        record={"global_step": 0, "weights": "imported", "files": [path.name for path in files]},
    )
    ways = " and ".join("A → B" if d == "ab" else "B → A" for d in found)
    print(f"{model.generator}, ngf {model.ngf}, {ways}: written to {target}")
    return 0


def export(args: argparse.Namespace) -> int:
    """Write one generator as an ONNX file."""
    from cyclegan.checkpoints.export_onnx import INPUT, OPSET, OUTPUT, check_packages, check_path, export_onnx

    check_packages()
    if args.output is not None:  # Before anything is downloaded.
        check_path(args.output)
    checkpoint = _load(args.source, args.epoch, (args.direction,))
    path = args.output or Path(f"{checkpoint.info.tag}-{args.direction}.onnx")
    done = export_onnx(checkpoint, args.direction, path)
    sizes = ", ".join(f"{n}×3×{height}×{width}" for n, height, width in done.checked)
    way = " → ".join(getattr(checkpoint.config.data, f"domain_{domain}") for domain in args.direction)
    size = path.stat().st_size / 1e6
    print(f"{way} of epoch {checkpoint.info.epoch} written to {path}, {size:.1f} MB, ONNX opset {OPSET}")
    print(f"takes {INPUT}, gives {OUTPUT}: float32 (N, 3, H, W), RGB in [-1, 1]; H and W multiples of "
          f"{done.size_multiple}, at least {done.min_size}")  # fmt: skip
    print(f"checked with ONNX Runtime against torch on {sizes}: at most {done.max_difference:.2g} grey levels apart")
    return 0


def _load(spec: str, epoch: int | None, directions: tuple[Direction, ...] | None = None) -> Checkpoint:
    """A checkpoint of a folder or of the Hub, with what there is to say of its source."""
    source = open_source(spec)
    checkpoint = source.load(epoch, directions)
    for sentence in source.problems:
        print(f"warning: {sentence}", file=sys.stderr)
    return checkpoint


def _fetched(name: str) -> Path:
    """The file itself, or where one of the Hub was downloaded to."""
    if not name.startswith("hub:"):
        return Path(name)
    from hub.source import fetch_file

    return fetch_file(name.removeprefix("hub:"))
