"""Every setting of a run, as frozen dataclasses that validate themselves and go to and from JSON.

`cyclegan.cli.flags` turns the fields into command line flags, so a field's name is its flag, and its `help` is what
`--help` prints. Loads no torch, because the app and the Hub's commands read settings, too.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from cyclegan.errors import ConfigError, Message, message

PREPROCESS = ("resize_crop", "resize", "crop", "scale_width", "scale_width_crop", "none")
GENERATORS = ("resnet_9", "resnet_6", "unet_256", "unet_128", "encoder_decoder")
DISCRIMINATORS = ("patch", "pixel")
UPSAMPLES = ("transpose", "resize", "resize_zeros")
GAN_MODES = ("lsgan", "vanilla", "hinge", "wgan_gp")
PRECISIONS = ("auto", "no", "bf16", "fp16")
ORDERS = ("auto", "rounds", "random")
TRACKERS = ("none", "tensorboard", "trackio", "wandb")
Direction = Literal["ab", "ba"]
DIRECTIONS: tuple[Direction, ...] = ("ab", "ba")
METHOD_CONFIGS: dict[str, type[MethodConfig]] = {}
"""The options of every training method, by the method's name; `cyclegan.methods.register_method` adds one."""


def direction_name(direction: str, a: str = "A", b: str = "B") -> str:
    """Return `A → B` or `B → A`, with the domains' names instead of the letters where they are given."""
    return f"{b} → {a}" if direction == "ba" else f"{a} → {b}"


def option(
    default: Any, help: str, *, choices: Collection[Any] | None = None, least: float | None = None,
    most: float | None = None, above: float | None = None, below: float | None = None,
) -> Any:
    """Return a dataclass field that knows its help text and its allowed values; None is always allowed.

    Args:
        choices: the allowed values; a view of a dictionary's keys follows the dictionary.
        least, most: bounds that are allowed themselves.
        above, below: bounds that are not.
    """
    bounds = {"least": least, "most": most, "above": above, "below": below}
    return field(default=default, metadata={"help": help, "choices": choices, "bounds": bounds})


def _require(condition: bool, template: str, /, **values: Any) -> None:
    if not condition:
        raise ConfigError(template, **values)


def check_option(name: str, value: Any, choices: Collection[Any] | None, bounds: Mapping[str, float | None]) -> None:
    """Check one value against its field's choices and bounds.

    Raises:
        ConfigError: names the setting, the value and what is allowed.
    """
    if value is None:
        return
    if choices and value not in choices:
        raise ConfigError(
            "--{name} {value!r} is not one of {choices}", name=name, value=value, choices=", ".join(map(str, choices))
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError("--{name} must be a finite number, not {value}", name=name, value=value)
    least, most, above, below = (bounds.get(key) for key in ("least", "most", "above", "below"))
    fits = (
        (least is None or value >= least) and (most is None or value <= most)
        and (above is None or value > above) and (below is None or value < below)
    )  # fmt: skip
    if not fits:
        raise ConfigError("--{name} {value} is out of range: {range}", name=name, value=value, range=_range(bounds))


def _range(bounds: Mapping[str, float | None]) -> Message:
    """Return the allowed values in words."""
    low = bounds.get("least") if bounds.get("above") is None else bounds["above"]
    high = bounds.get("most") if bounds.get("below") is None else bounds["below"]
    low, high = (f"{bound:g}" if isinstance(bound, float) else bound for bound in (low, high))
    inside, outside = bounds.get("above") is None, bounds.get("below") is None
    if high is None:
        return message("{low} or more", low=low) if inside else message("above {low}", low=low)
    if low is None:
        return message("{high} or less", high=high) if outside else message("below {high}", high=high)
    if inside and outside:
        return message("{low} to {high}", low=low, high=high)
    if inside:
        return message("{low} to below {high}", low=low, high=high)
    return message("above {low}, up to {high}" if outside else "above {low}, below {high}", low=low, high=high)


class Config:
    """A group of settings that goes to and from JSON; the base of the dataclasses below."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON-ready dictionary."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]):
        """Rebuild from `to_json()`'s dictionary and validate.

        Raises:
            ConfigError: a key is unknown, a value has the wrong type or is out of range.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(
                "{name} must be a JSON object, not {type}", name=cls.__name__, type=type(values).__name__
            )
        hints = cls._types(values)
        names = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(values) - names):
            raise ConfigError("{name} has no setting {unknown}", name=cls.__name__, unknown=", ".join(unknown))
        config = cls(**{name: _convert(name, value, hints[name]) for name, value in values.items()})
        config.validate()
        return config

    @classmethod
    def _types(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the types of the fields, by name; `values` is the JSON to rebuild from."""
        return typing.get_type_hints(cls)

    def validate(self) -> None:
        """Raise ConfigError for a value that can't work."""
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            if "bounds" in f.metadata:
                check_option(f.name, getattr(self, f.name), f.metadata["choices"], f.metadata["bounds"])


def _convert(name: str, value: Any, kind: Any) -> Any:
    """Return one JSON value, checked against its field's type; an int may stand for a float."""
    if dataclasses.is_dataclass(kind):
        return kind.from_json(value)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        if value is None:
            return None
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise ConfigError("{name} is too large", name=name) from error
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError("{name} must be {kind}, not {value!r}", name=name, kind=kind.__name__, value=value)
    return value


@dataclass(frozen=True)
class DataConfig(Config):
    """The pictures, and their way to the networks."""

    dataset: str = option(
        "",
        "required: folder with trainA/trainB(/testA/testB), or two folders of any name in train(/test); folder with "
        "train(/val/test) of side-by-side pairs (left = A, right = B); Hub data set id; or 'streets', the built-in "
        "synthetic day/night scenes",
    )
    domain_a: str = option("A", "name of domain A, shown to people, e.g. 'aerial photo'; else its folder's in train")
    domain_b: str = option("B", "name of domain B, shown to people, e.g. 'map'; else its folder's in train")
    preprocess: str = option(
        "resize_crop",
        "resize_crop: to load_size², then a random crop_size² crop; resize: to crop_size², nothing lost; "
        "crop: random crop only; scale_width: width to crop_size, height in proportion; scale_width_crop: "
        "width to load_size, then crop; none: unchanged, sides rounded to what the network needs",
        choices=PREPROCESS,
    )
    load_size: int = option(286, "size in pixels that pictures are resized to before the crop", most=20_000)
    crop_size: int = option(256, "size in pixels of the pictures that the networks are trained on", least=16)
    flip: bool = option(True, "mirror half of the training pictures, at random")
    order: str = option(
        "auto",
        "choice of the B picture for each A picture: rounds, each equally often; random, a new draw for each, as in "
        "the reference; auto: rounds, but random with --reference",
        choices=ORDERS,
    )
    max_images: int | None = option(None, "use at most this many training pictures per domain", least=1)
    skip_bad_images: bool = option(False, "skip pictures that can't be read, instead of stopping")
    cache_mb: int = option(2048, "memory for decoded pictures, in MiB; the rest is decoded again each time", least=0)
    num_workers: int = option(
        -1, "processes that decode pictures; -1 chooses, 0 decodes in the training process", least=-1
    )

    @property
    def keeps_shape(self) -> bool:
        """True if training pictures keep their own shape, so that their sizes may differ."""
        return self.preprocess in ("none", "scale_width")

    def validate(self) -> None:
        super().validate()
        if self.preprocess in ("resize_crop", "scale_width_crop"):
            _require(
                self.load_size >= self.crop_size,
                "--load_size {load_size} is smaller than --crop_size {crop_size}: raise --load_size, or use "
                "--preprocess resize to train on whole pictures",
                load_size=self.load_size, crop_size=self.crop_size,
            )


@dataclass(frozen=True)
class ModelConfig(Config):
    """The architecture of the networks; it rebuilds them from a checkpoint."""

    generator: str = option("resnet_9", "generator architecture", choices=GENERATORS)
    discriminator: str = option(
        "patch",
        "patch: judges overlapping patches (70×70 at 3 layers); pixel: judges each pixel",
        choices=DISCRIMINATORS,
    )
    ngf: int = option(64, "channels of the generators' first layer", least=1, most=1024)
    ndf: int = option(64, "channels of the discriminators' first layer", least=1, most=1024)
    n_layers_d: int = option(3, "stride-2 layers of the patch discriminator; 3 sees 70×70 pixels", least=1, most=6)
    upsample: str = option(
        "transpose",
        "transpose: transposed convolution, as published; resize: nearest-neighbour resize "
        "and convolution, which leaves no checkerboard patterns; resize_zeros: the same with zeros around the picture, "
        "as imported HugGAN networks have it",
        choices=UPSAMPLES,
    )
    leaky_slope: float = option(
        0.2, "slope of LeakyReLU below zero in discriminators and U-Nets' encoders; 0 = ReLU", least=0, below=1
    )
    dropout: bool = option(False, "dropout of 0.5 in the generators")
    init_gain: float = option(0.02, "standard deviation of the initial weights", above=0)
    norm_affine: bool = option(False, "scale and shift after instance norm; only old imported weights have it")

    @property
    def size_multiple(self) -> int:
        """Sides of pictures must be multiples of this many pixels."""
        return {"unet_256": 256, "unet_128": 128, "encoder_decoder": 16}.get(self.generator, 4)


@dataclass(frozen=True)
class MethodConfig(Config):
    """A training method's own options, with its own defaults; subclasses are defined next to their methods."""

    defaults: ClassVar[Mapping[str, Any]] = {}
    """Defaults of other groups' settings that differ for this method, e.g. {"generator": "unet_256"}."""

    @property
    def trains_discriminators(self) -> bool:
        """True unless the options leave discriminators out."""
        return True

    def describe(self) -> str:
        """Return the losses and their weights in words, for a model card."""
        return ", ".join(f"{name} {value}" for name, value in self.to_json().items())


@dataclass(frozen=True)
class CycleGANConfig(MethodConfig):
    """The objective's terms and their weights (paper sections 3 and 4).

    Defined here and not in `cyclegan.methods`, because the default method's options must load without torch.
    """

    gan_mode: str = option("lsgan", "adversarial objective", choices=GAN_MODES)
    lambda_gan: float = option(1.0, "weight of the adversarial term; 0 trains without discriminators", least=0)
    lambda_cycle_a: float = option(10.0, "weight of the forward cycle, a → b → a", least=0)
    lambda_cycle_b: float = option(10.0, "weight of the backward cycle, b → a → b", least=0)
    lambda_identity: float = option(
        0.5, "weight of the identity term, relative to the cycle weight of the same domain (0.5 × 10 = 5)", least=0)
    lambda_gp: float = option(10.0, "weight of the gradient penalty, for wgan_gp only", least=0)
    pool_size: int = option(
        50, "number of past fakes that each discriminator is shown again; 0 = only new ones", least=0)

    def validate(self) -> None:
        """Raise ConfigError for a value, or a combination of weights, that can't work."""
        super().validate()
        _require(
            self.lambda_gan + self.lambda_cycle_a + self.lambda_cycle_b > 0,
            "every loss weight is 0: raise --lambda_gan or --lambda_cycle_a/--lambda_cycle_b",
        )

    @property
    def trains_discriminators(self) -> bool:
        """False where the adversarial term's weight is 0."""
        return self.lambda_gan > 0

    def describe(self) -> str:
        """Return e.g. "adversarial (lsgan) × 1, cycle × 10 (A) and × 10 (B), identity × 0.5 of the cycle's weight"."""
        terms = [f"adversarial ({self.gan_mode}) × {self.lambda_gan:g}"] if self.lambda_gan else []
        terms.append(f"cycle × {self.lambda_cycle_a:g} (A) and × {self.lambda_cycle_b:g} (B)")
        terms += [f"identity × {self.lambda_identity:g} of the cycle's weight"] if self.lambda_identity else []
        return ", ".join(terms)


METHOD_CONFIGS["cyclegan"] = CycleGANConfig


@dataclass(frozen=True)
class OptimConfig(Config):
    """The optimiser and its schedule (paper section 4, appendix)."""

    epochs: int = option(100, "epochs at the full learning rate", least=0)
    decay_epochs: int = option(100, "epochs after that, over which the learning rate falls linearly to 0", least=0)
    batch_size: int = option(1, "image pairs per step and process", least=1)
    gradient_accumulation_steps: int = option(1, "steps whose gradients are averaged before an update", least=1)
    lr: float = option(2e-4, "learning rate of Adam", above=0)
    beta1: float = option(0.5, "Adam's decay rate of the first moment", least=0, below=1)
    beta2: float = option(0.999, "Adam's decay rate of the second moment", least=0, below=1)
    ema: float = option(
        0.0,
        "decay of an averaged copy of the generators, e.g. 0.999, which the app then loads; 0 = none",
        least=0, below=1,
    )

    @property
    def total_epochs(self) -> int:
        """Epochs in all, flat and decaying."""
        return self.epochs + self.decay_epochs

    def validate(self) -> None:
        super().validate()
        _require(self.total_epochs >= 1, "nothing to train: --epochs and --decay_epochs are both 0")


@dataclass(frozen=True)
class RunConfig(Config):
    """The run's folder, its records, its speed and its publishing."""

    output_dir: str = option("", "required: folder of the run; checkpoints land in OUTPUT_DIR/epoch-0001 and on")
    method: str = option("cyclegan", "training method", choices=METHOD_CONFIGS.keys())
    seed: int = option(0, "seed of initial weights, order, crops, flips and pools", least=0, most=2**63 - 1)
    resume: str = option(
        "none",
        "auto: continue from the newest training state in output_dir, or start if there is none; "
        "a folder: continue from that training state; none: start",
    )
    reference: bool = option(
        False,
        "compute each step exactly as published, for comparisons: fp32, one pass per picture, torch's own Adam, "
        "none of the flags for speed",
    )
    mixed_precision: str = option(
        "auto",
        "arithmetic of the networks; weights, norms and losses are always fp32. auto: bf16 where the "
        "processor or GPU computes it natively, else no",
        choices=PRECISIONS,
    )
    batch_passes: bool | None = option(
        None, "run pictures through the same network together: same results (default: on)"
    )
    fused_adam: bool | None = option(
        None,
        "let torch update all weights at once, and skip steps that are not finite without waiting for the GPU: "
        "same results (default: on)",
    )
    compile: bool = option(False, "compile the step with torch.compile: slow first steps, faster later ones")
    cuda_graphs: bool = option(
        False, "with --compile, on one GPU: record the step and replay it, for small pictures and batches"
    )
    channels_last: bool = option(
        False, "keep pictures channels-last in memory: same results; slower on CPUs, may help on GPUs with --compile"
    )
    gradient_checkpointing: bool = option(
        False, "compute generators' layers again in the backward pass instead of keeping them: for large pictures"
    )
    save_precision: str = option("fp32", "precision of published weights", choices=("fp32", "fp16"))
    keep_training_state: int = option(
        1, "number of training states to keep; generators of every epoch are kept", least=1
    )
    sample_count: int = option(4, "fixed test pictures per domain in each epoch's sample grid", least=1)
    samples_every: int = option(
        500, "steps between grids of the test pictures within an epoch, which the app shows (RUN/samples); 0: none",
        least=0,
    )
    log_every: int = option(100, "steps between lines of losses in metrics.jsonl", least=1)
    report_to: str = option("none", "tracker that also shows losses and samples", choices=TRACKERS)
    push_to_hub: bool = option(False, "publish each epoch to the Hugging Face Hub: one commit, one tag")
    hub_model_id: str | None = option(None, "repository to publish to, USER/NAME")
    hub_private: bool = option(False, "create the repository as a private one; refuse one that is public")
    hub_license: str | None = option(
        None, "licence of the weights as the Hub spells it, e.g. mit or cc-by-4.0, for the model card"
    )
    hub_training_state: str = option(
        "none",
        "when to publish the training state too, so that --resume auto can continue from it on another machine: "
        "every:N, after every N epochs and at the end; last, when the training ends or is stopped; none",
    )

    def validate(self) -> None:
        super().validate()
        _require(
            not self.push_to_hub or bool(self.hub_model_id),
            "--push_to_hub needs --hub_model_id USER/NAME",
        )
        _require(
            re.fullmatch(r"none|last|every:[1-9]\d*", self.hub_training_state) is not None,
            "--hub_training_state {hub_training_state!r} must be every:N, e.g. every:5, or last, or none",
            hub_training_state=self.hub_training_state,
        )
        _require(
            not self.cuda_graphs or self.compile, "--cuda_graphs records what --compile has compiled: add --compile"
        )
        contrary = [
            f"--mixed_precision {self.mixed_precision}" if self.mixed_precision not in ("auto", "no") else "",
            *(f"--{name}" for name in ("batch_passes", "fused_adam", "compile", "channels_last",
                                       "gradient_checkpointing") if getattr(self, name)),
        ]  # fmt: skip
        for flag in filter(None, contrary):
            _require(
                not self.reference,
                "--reference computes as published, and {flag} doesn't: leave one out",
                flag=flag,
            )
        given = {"hub_model_id": self.hub_model_id, "hub_private": self.hub_private, "hub_license": self.hub_license,
                 "hub_training_state": self.hub_training_state != "none"}  # fmt: skip
        for name, value in given.items():
            _require(
                self.push_to_hub or not value,
                "--{name} publishes nothing without --push_to_hub: add it",
                name=name,
            )


@dataclass(frozen=True)
class TrainConfig(Config):
    """One training run: everything that the command line can set.

    Attributes:
        loss: the options of the method that `run.method` names; its defaults if none are given.
    """

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: MethodConfig = None  # type: ignore[assignment]
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if self.loss is None:
            object.__setattr__(self, "loss", METHOD_CONFIGS[self.run.method]())

    @classmethod
    def _types(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the types of the groups; that of `loss` is the method's."""
        run = RunConfig.from_json(values.get("run", {}))
        return super()._types(values) | {"loss": METHOD_CONFIGS[run.method]}

    def validate(self) -> None:
        """Validate every group, then their combination.

        Raises:
            ConfigError: names the flag and the remedy.
        """
        for group in (self.data, self.model, self.loss, self.optim, self.run):
            group.validate()
        _require(bool(self.data.dataset), "--dataset is missing: a folder, a Hub data set id, or 'streets'")
        _require(bool(self.run.output_dir), "--output_dir is missing: the folder that the run is written to")
        multiple = self.model.size_multiple
        if not self.data.keeps_shape:
            _require(
                self.data.crop_size % multiple == 0,
                "--crop_size {crop_size} does not fit --generator {generator}: use a multiple of {multiple}",
                crop_size=self.data.crop_size, generator=self.model.generator, multiple=multiple,
            )
        _require(
            not (self.run.compile and self.data.keeps_shape),
            "--compile needs pictures of one size, which --preprocess {preprocess} does not give: leave it out, or "
            "use --preprocess resize_crop",
            preprocess=self.data.preprocess,
        )
        if self.run.cuda_graphs:
            _require(
                self.optim.gradient_accumulation_steps == 1,
                "--cuda_graphs can't add the gradients of several steps: leave out --gradient_accumulation_steps",
            )
        # The networks' layers need this much: see their min_size.
        least = 3 * 2**self.model.n_layers_d if self.model.discriminator == "patch" else 2
        least = max(least, {"unet_256": 256, "unet_128": 128, "encoder_decoder": 32}.get(self.model.generator, 8))
        _require(
            self.data.crop_size >= least or self.data.preprocess == "none",
            "--crop_size {crop_size} is too small for these networks: at least {least}, or fewer --n_layers_d",
            crop_size=self.data.crop_size, least=least,
        )
