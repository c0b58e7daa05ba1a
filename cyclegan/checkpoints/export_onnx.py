"""Export of one generator as an ONNX file, for programs without torch; the file is checked before it is written.

onnx, onnxscript and onnxruntime are imported where they are used, because nothing else needs them.
"""

from __future__ import annotations

import copy
import importlib.util
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from cyclegan import __version__
from cyclegan.checkpoints.format import Checkpoint
from cyclegan.config import Direction
from cyclegan.errors import CheckpointError
from cyclegan.files import whole_file
from cyclegan.networks.dropout import FixedDropout

if TYPE_CHECKING:
    import onnx

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INPUT, OUTPUT = "image", "translation"
# The version that torch's exporter writes by itself. Newer ones would be converted from it, exclude older runtimes and
# add nothing that these networks need (18 brought the Pad and Resize that they use).
OPSET = 18
MAX_GREY_LEVELS = 0.5
"""Half a grey level: beyond it, a rounded pixel can differ by more than rounding explains."""
# A single ONNX file is one protobuf message, which ends at 2 GiB; the graph around the weights needs little.
_MAX_WEIGHTS_BYTES = 2**31 - 2**24
# Above the upper bound, checking takes longer than exporting. Below the lower one, a norm would see a few pixels only,
# and networks that were never trained there enlarge the rounding in which any two programs differ.
_CHECKED_SIDES = (64, 256)


@dataclass(frozen=True)
class Exported:
    """A written file, and the results of its check."""

    path: Path
    size_multiple: int
    """Width and height of pictures must be multiples of this many pixels."""
    min_size: int
    """Width and height must be at least this many pixels."""
    checked: tuple[tuple[int, int, int], ...]
    """Batch, height and width of the pictures that were compared with torch."""
    max_difference: float
    """Largest |ONNX Runtime − torch| over all values of these pictures, in grey levels (0 to 255)."""


def check_packages() -> None:
    """Raise CheckpointError, naming them, if packages are missing that export needs besides torch."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise CheckpointError(
            "export to ONNX needs {missing}: pip install {names}",
            missing=' and '.join(missing), names=' '.join(PACKAGES),
        )


def check_path(path: Path) -> None:
    """Raise CheckpointError if `path` doesn't end in .onnx or exists already."""
    if path.suffix.lower() != ".onnx":
        raise CheckpointError("{path} isn't a name for an ONNX file: it must end in .onnx", path=path)
    if os.path.lexists(path):
        raise CheckpointError("{path} exists already: choose another --output, or remove it first", path=path)


def export_onnx(checkpoint: Checkpoint, direction: Direction, path: Path) -> Exported:
    """Write one generator as a single ONNX file, whole and checked or not at all.

    Its input `image` and its output `translation` are float32 (N, C, H, W), RGB or of other channels, in [-1, 1], with
    any N, and any H and W that are multiples of the network's `size_multiple` and at least its `min_size`. The file
    says so in its metadata (strings): commit_sha, epoch, direction, domain_a, domain_b, generator, layout, value_range,
    input_values and output_values (what -1 and 1 stand for, such as -1000:3000), size_multiple, min_size, crop_size
    (what it was trained at) and program_version.

    Args:
        checkpoint: from a `CheckpointSource`, its generators in fp32 on the CPU; they are not changed.
        direction: the generator to write.
        path: file to write, NAME.onnx; its folder is made if it is missing.

    Raises:
        CheckpointError: `path` isn't a new .onnx file or can't be written; a package is missing; the checkpoint lacks
            this direction; torch can't export this network; or ONNX Runtime's result differs from torch's by more
            than half a grey level.
    """
    check_path(path)
    check_packages()
    generator = checkpoint.generator(direction)
    if generator.whole_only:
        raise CheckpointError(
            "a coupled generator ({generator}) translates by a search with gradients, which an ONNX file can't hold: "
            "translate with this program", generator=checkpoint.config.model.generator,
        )
    nbytes = sum(p.numel() * p.element_size() for p in generator.parameters())
    if nbytes > _MAX_WEIGHTS_BYTES:
        raise CheckpointError(
            "{size:.1f} GB of weights don't fit into one ONNX file, which ends at 2 GB", size=nbytes / 2**30
        )
    try:
        with whole_file(path) as part:
            part.touch()  # A folder that can't be written is reported now, not after the work.
            channels = checkpoint.config.data.values(direction[0]).channels
            model = _model(generator, channels)
            for key, value in _metadata(checkpoint, direction).items():
                model.metadata_props.add(key=key, value=value)
            part.write_bytes(model.SerializeToString())
            checked = _checked_shapes(generator, checkpoint.config.data.crop_size)
            difference = _max_difference(generator, part, checked, channels)
            if not difference <= MAX_GREY_LEVELS:  # NaN is refused, too.
                raise CheckpointError(
                    "{name} was not written: ONNX Runtime differs from torch by {difference:.2g} grey levels, and "
                    "{most} are allowed; update torch, onnxscript and onnxruntime",
                    name=path.name, difference=difference, most=MAX_GREY_LEVELS,
                )
    except OSError as error:
        raise CheckpointError(
            "{path} can't be written ({reason}): free space or choose another --output",
            path=path, reason=error,
        ) from error
    return Exported(path, generator.size_multiple, generator.min_size, checked, difference)


def _metadata(checkpoint: Checkpoint, direction: Direction) -> dict[str, str]:
    """Return the file's metadata. ONNX has strings only."""
    info, config, generator = checkpoint.info, checkpoint.config, checkpoint.generators[direction]
    return {
        "commit_sha": info.commit_sha,
        "epoch": str(info.epoch),
        "direction": direction,
        "domain_a": config.data.domain_a,
        "domain_b": config.data.domain_b,
        "generator": config.model.generator,
        "layout": "NCHW RGB" if config.data.plain else "NCHW",
        "value_range": "-1 1",
        "input_values": config.data.values(direction[0]).text(),
        "output_values": config.data.values(direction[1]).text(),
        "size_multiple": str(generator.size_multiple),
        "min_size": str(generator.min_size),
        "crop_size": str(config.data.crop_size),
        "program_version": f"cyclegan-workbench {__version__}",
    }


def _model(generator: nn.Module, channels: int) -> onnx.ModelProto:
    """Return the network as torch's exporter writes it, for any picture size, without traces of this machine."""
    multiple = generator.size_multiple
    units = generator.min_size // multiple
    batch, height, width = (torch.export.Dim(name, min=least) for name, least in (("n", 1), ("h", units), ("w", units)))
    # All dimensions differ and none is 1, because an exporter treats 1 as a constant.
    example = torch.zeros(2, channels, generator.min_size + multiple, generator.min_size + 2 * multiple)
    try:
        with warnings.catch_warnings():
            # The warnings are for the exporter's developers; the result is compared below.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _with_instance_norm(generator),
                (example,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: batch, 2: multiple * height, 3: multiple * width},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
            model = program.model_proto
    except Exception as error:  # The exporter and the packages behind it raise many kinds.
        raise CheckpointError(
            "torch {version} could not export this network ({reason}); update torch, onnx and onnxscript",
            version=torch.__version__, reason=_brief(error),
        ) from error
    # The exporter records each node's source, with the paths of this machine.
    graph = model.graph
    for noted in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer, graph):
        del noted.metadata_props[:]
        noted.doc_string = ""
    del model.metadata_props[:]
    return model


def _with_instance_norm(generator: nn.Module) -> nn.Module:
    """Return a copy that uses `nn.InstanceNorm2d`: the same function, in one node instead of five.

    Training uses group norm instead (see `cyclegan.networks.norm`), which the exporter builds from reshapes.
    `nn.InstanceNorm2d`'s drawbacks concern training only. Layers that drop values while translating get their draws as
    constants, which become part of the file.
    """
    changed = copy.deepcopy(generator)
    for module in list(changed.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.GroupNorm):
                norm = nn.InstanceNorm2d(child.num_channels, eps=child.eps, affine=child.affine)
                norm.load_state_dict(child.state_dict())
                setattr(module, name, norm)
            elif isinstance(child, FixedDropout):
                child.constant = child.draw(torch.device("cpu"))
    return changed.eval().requires_grad_(False)


def _checked_shapes(generator: nn.Module, crop_size: int) -> tuple[tuple[int, int, int], ...]:
    """Return three (batch, height, width) near the training size that differ in every open dimension."""
    multiple = generator.size_multiple
    least, most = _CHECKED_SIDES
    side = max(generator.min_size, -(-min(max(crop_size, least), most) // multiple) * multiple)
    return (1, side, side), (1, side, side + multiple), (2, side + multiple, side)


def _max_difference(
    generator: nn.Module, file: Path, shapes: tuple[tuple[int, int, int], ...], channels: int
) -> float:
    """Return the largest |ONNX Runtime − torch| over random pictures of these shapes, in grey levels."""
    rng = np.random.default_rng(0)
    pictures = [rng.uniform(-1, 1, (n, channels, height, width)).astype(np.float32) for n, height, width in shapes]
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # Silent, because errors are raised, too.
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        theirs = [session.run([OUTPUT], {INPUT: x})[0] for x in pictures]
    except Exception as error:  # Its errors have no narrower base class.
        raise CheckpointError(
            "ONNX Runtime can't run the file that torch exported ({reason}); update torch and onnxruntime",
            reason=_brief(error),
        ) from error
    with torch.inference_mode():
        ours = [generator(torch.from_numpy(x)).numpy() for x in pictures]
    if not all(np.isfinite(y).all() for y in ours):
        raise CheckpointError("this generator's results aren't numbers (NaN): export another epoch")
    if [y.shape for y in theirs] != [y.shape for y in ours]:
        raise CheckpointError("ONNX Runtime's pictures differ in size from torch's; update torch and onnxruntime")
    return float(np.max([np.abs(a - b).max() for a, b in zip(theirs, ours, strict=True)])) * 127.5


def _brief(error: Exception) -> str:
    """Return the beginning of a message that may fill a page."""
    return " ".join(str(error).split())[:160] or type(error).__name__
