"""Every setting of a run, as frozen dataclasses that validate themselves and go to and from JSON.

`cyclegan.cli.flags` turns the fields into command line flags, so a field's name is its flag, and its `help` is what
`--help` prints. Loads no torch, because the app and the Hub's commands read settings, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from cyclegan.config.fields import DIRECTIONS, Config, Direction, check_option, direction_name, option, require
from cyclegan.config.method_options import (
    FEATURES,
    GAN_MODES,
    METHOD_CONFIGS,
    BiGANConfig,
    CoGANConfig,
    CUTConfig,
    CycleGANConfig,
    MethodConfig,
    Pix2PixConfig,
    SimGANConfig,
)

if TYPE_CHECKING:
    from cyclegan.values import Values

__all__ = [
    "DIRECTIONS", "FEATURES", "GAN_MODES", "METHOD_CONFIGS", "MOTION", "BiGANConfig", "CUTConfig", "CoGANConfig",
    "Config", "CycleGANConfig", "DataConfig", "Direction", "MethodConfig", "ModelConfig", "OptimConfig",
    "Pix2PixConfig", "RunConfig", "SimGANConfig", "TrainConfig", "check_option", "direction_name", "option",
]  # fmt: skip

PREPROCESS = ("resize_crop", "resize", "crop", "scale_width", "scale_width_crop", "none")
GENERATORS = ("resnet_9", "resnet_6", "unet_256", "unet_128", "encoder_decoder", "coupled")
DISCRIMINATORS = ("patch", "pixel", "coupled")
UPSAMPLES = ("transpose", "resize", "resize_zeros")
PRECISIONS = ("auto", "no", "bf16", "fp16")
COMPRESSIONS = ("none", "bf16", "fp16")
DIFF_AUGMENTS = ("color", "translation", "cutout")
ORDERS = ("auto", "rounds", "random")
SCHEDULES = ("linear", "cosine", "constant", "plateau")
MOST_SEARCHED = 4000
"""Bounds inversion_starts × inversion_steps, by which a checkpoint decides how long a translation takes."""
MOTION = 6.0
"""Grey levels: where a frame differs by this much from the one before, its stillness has fallen from 1 to 1/e. Videos
are smoothed by it, and `lambda_temporal` weighs by it."""
TRACKERS = ("none", "tensorboard", "trackio", "wandb")


@dataclass(frozen=True)
class DataConfig(Config):
    """The pictures, and their way to the networks."""

    dataset: str = option(
        "",
        "required: folder with trainA/trainB(/testA/testB), or two folders of any name in train(/test); folder with "
        "train(/val/test) of side-by-side pairs (left = A, right = B); Hub data set id; 'streets', the built-in "
        "synthetic day/night scenes; or 'phantoms', the built-in synthetic MR/CT slices of 16 bits",
    )
    domain_a: str = option("A", "name of domain A, shown to people, e.g. 'aerial photo'; else its folder's in train")
    domain_b: str = option("B", "name of domain B, shown to people, e.g. 'map'; else its folder's in train")
    channels_a: int | None = option(
        None, "values of a pixel in domain A, e.g. 1 for grey; found from the pictures if not given", least=1, most=16,
        since=3, former=3,
    )
    channels_b: int | None = option(None, "the same in domain B", least=1, most=16, since=3, former=3)
    range_a: str = option(
        "auto",
        "values of domain A between which the networks work, LOW:HIGH in the pictures' own units, e.g. 0:4095 or "
        "-1000:3000; what lies beyond is cut. auto: 0:255 for 8-bit pictures; for others, the range of the training "
        "pictures' values but for 2 in 1000", since=3, former="0:255",
    )
    range_b: str = option("auto", "the same in domain B", since=3, former="0:255")
    neighbours: int = option(
        0, "for volumes: so many slices before and after each slice are channels of its picture (2.5D)", least=0,
        most=7, since=3,
    )
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
    stream: bool = option(
        False,
        "read the training pictures while they are trained on, for data sets beyond the disk: of the Hub, of Parquet "
        "files, or tars called trainA-0000.tar, trainB-0000.tar and so on in a folder; needs --epoch_pictures", since=3,
    )
    epoch_pictures: int | None = option(
        None, "with --stream: pictures of each domain in an epoch; the next epoch continues where one ends", least=1,
        since=3,
    )
    shuffle_buffer: int = option(
        1000, "with --stream: pictures of each domain that are held and shuffled together, not decoded", least=1,
        since=3,
    )
    max_images: int | None = option(None, "use at most this many training pictures per domain", least=1)
    skip_bad_images: bool = option(False, "skip pictures that can't be read, instead of stopping")
    cache_mb: int = option(2048, "memory for decoded pictures, in MiB; the rest is decoded again each time", least=0)
    num_workers: int = option(
        -1, "processes that decode pictures; -1 chooses, 0 decodes in the training process", least=-1
    )

    augment: str = option(
        "none",
        "small: for a few hundred pictures and fewer, --rotate 10 --zoom 0.15 --shift 0.1 --colour 0.15 and "
        "--diff_augment color,translation,cutout, each of which you can still set",
        choices=("none", "small"), since=2,
    )
    rotate: float = option(0.0, "turn training pictures by up to this many degrees, at random", least=0, most=180,
                           since=2)
    zoom: float = option(0.0, "enlarge or reduce them by up to this share, e.g. 0.1", least=0, most=1, since=2)
    shift: float = option(0.0, "shift them by up to this share of their width and height", least=0, most=0.5, since=2)
    colour: float = option(
        0.0, "change brightness, contrast, saturation and (a quarter as much) hue by up to this share; pairs keep "
        "their colours", least=0, most=1, since=2,
    )  # fmt: skip
    diff_augment: str = option(
        "none",
        "what discriminators see, real and fake, is changed alike (Zhao et al. 2020): one or more of color, "
        "translation and cutout, separated by commas; none",
        since=2,
    )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "augment": {"rotate": 10.0, "zoom": 0.15, "shift": 0.1, "colour": 0.15,
                    "diff_augment": "color,translation,cutout"},
    }  # fmt: skip
    """Further defaults that an option brings with it if it is neither off nor "none"."""
    of_stream: ClassVar[tuple[str, ...]] = ("stream", "epoch_pictures", "shuffle_buffer")
    """The settings that only a training knows."""

    @property
    def diff_augments(self) -> tuple[str, ...]:
        """The changes of what discriminators see, e.g. ("color", "cutout")."""
        return () if self.diff_augment == "none" else tuple(self.diff_augment.split(","))

    def values(self, domain: str) -> Values:
        """Return the channels and the range of domain "a" or "b"; 8-bit RGB where they aren't known."""
        from cyclegan.values import PLAIN, values_of

        text = getattr(self, f"range_{domain}")
        channels = getattr(self, f"channels_{domain}") or 3
        return values_of(channels, PLAIN if text == "auto" else text, self.neighbours)

    @property
    def plain(self) -> bool:
        """True if both domains have 8-bit RGB pictures."""
        return self.values("a").plain and self.values("b").plain

    @property
    def keeps_shape(self) -> bool:
        """True if training pictures keep their own shape, so that their sizes may differ."""
        return self.preprocess in ("none", "scale_width")

    def validate(self) -> None:
        super().validate()
        for domain in "ab":
            self.values(domain)
        for name in self.diff_augments:
            require(
                name in DIFF_AUGMENTS,
                "--diff_augment has {name!r}, which is not one of {choices}; separate several by commas only",
                name=name, choices=", ".join(DIFF_AUGMENTS),
            )
        require(
            not self.stream or self.epoch_pictures is not None,
            "--stream doesn't know how many pictures there are: add --epoch_pictures N, the pictures of an epoch",
        )
        require(
            self.stream or self.epoch_pictures is None,
            "--epoch_pictures is for --stream, and an epoch of other data sets has all their pictures: leave it out",
        )
        if self.preprocess in ("resize_crop", "scale_width_crop"):
            require(
                self.load_size >= self.crop_size,
                "--load_size {load_size} is smaller than --crop_size {crop_size}: raise --load_size, or use "
                "--preprocess resize to train on whole pictures",
                load_size=self.load_size, crop_size=self.crop_size,
            )


@dataclass(frozen=True)
class ModelConfig(Config):
    """The architecture of the networks; it rebuilds them from a checkpoint."""

    generator: str = option("resnet_9", "generator architecture; coupled: for cogan only", choices=GENERATORS)
    discriminator: str = option(
        "patch",
        "patch: judges overlapping patches (70×70 at 3 layers); pixel: judges each pixel; coupled: judges whole "
        "pictures, for cogan only",
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
    test_dropout: bool = option(
        False, "with --dropout: drop values while translating too, as pix2pix was published", since=2
    )
    init_gain: float = option(0.02, "standard deviation of the initial weights", above=0)
    spectral_norm: bool = option(
        False, "divide the weights of the discriminators' convolutions by their largest singular value, which keeps a "
        "discriminator from becoming too sharp", since=2,
    )
    norm_affine: bool = option(False, "scale and shift after instance norm, as in pix2pix and in old imported weights")
    latent_size: int = option(
        100, "coupled generators: values of the latent vector that a picture is drawn from", least=1, most=4096, since=2
    )
    inversion_starts: int = option(
        8, "coupled generators: latent vectors that the search for a picture's own starts from; the best one counts",
        least=1, most=64, since=2,
    )
    inversion_steps: int = option(
        50, "coupled generators: steps of that search (L-BFGS), at most; more take longer and come nearer", least=1,
        most=1000, since=2,
    )
    picture_size: int = option(
        0, "coupled generators: height and width of the pictures that they draw", least=0, most=1024, since=2,
        flag=False,
    )

    @property
    def size_multiple(self) -> int:
        """Sides of pictures must be multiples of this many pixels."""
        return {"unet_256": 256, "unet_128": 128, "encoder_decoder": 16, "coupled": 1}.get(self.generator, 4)

    def validate(self) -> None:
        super().validate()
        size = self.picture_size
        require(
            self.generator != "coupled" or size in (8, 16, 32, 64, 128, 256, 512, 1024),
            "coupled generators draw pictures of 8, 16, 32, 64, 128, 256, 512 or 1024 pixels a side, not {size}",
            size=size,
        )
        starts, steps = self.inversion_starts, self.inversion_steps
        require(
            starts * steps <= MOST_SEARCHED,
            "--inversion_starts {starts} × --inversion_steps {steps} are {product}, which would take very long: at "
            "most {most} together", starts=starts, steps=steps, product=starts * steps, most=MOST_SEARCHED,
        )


@dataclass(frozen=True)
class OptimConfig(Config):
    """The optimiser and its schedule (paper section 4, appendix)."""

    epochs: int = option(100, "epochs at the full learning rate", least=0)
    decay_epochs: int = option(100, "epochs after that, over which the learning rate falls by --schedule", least=0)
    schedule: str = option(
        "linear",
        "learning rate over decay_epochs: linear: falls linearly to 0; cosine: along half a cosine to 0; constant: "
        "doesn't fall; plateau: from the start, falls to a fraction whenever --plateau_figure no longer improves",
        choices=SCHEDULES,
    )
    plateau_figure: str = option(
        "auto",
        "with --schedule plateau: the figure of an epoch that must improve, e.g. reconstruction_l1 (the mean of both "
        "directions) or cycle_a; auto: truth_l1 where the true pictures are known, else reconstruction_l1, else the "
        "sum of the generators' losses",
    )
    plateau_patience: int = option(5, "with --schedule plateau: epochs to wait without improvement", least=0)
    plateau_factor: float = option(
        0.2, "with --schedule plateau: factor by which the learning rate falls", above=0, below=1
    )
    max_steps: int | None = option(
        None,
        "end the training after this many steps in all, with a checkpoint and the training state; the learning rate "
        "follows --epochs and --decay_epochs all the same", least=1,
    )
    freeze_first: int = option(
        0, "epochs at the start in which only discriminators learn, e.g. with --init_from a run that has none", least=0
    )
    batch_size: int = option(1, "image pairs per step and process", least=1)
    gradient_accumulation_steps: int = option(1, "steps whose gradients are averaged before an update", least=1)
    lr: float = option(2e-4, "learning rate of Adam", above=0)
    lr_disc: float | None = option(None, "learning rate of the discriminators, if another than --lr", above=0)
    clip_grad_norm: float = option(
        0.0, "longest gradient of each optimiser, by its norm over all weights; longer ones are scaled down; 0 = any",
        least=0,
    )
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
        require(self.total_epochs >= 1, "nothing to train: --epochs and --decay_epochs are both 0")
        require(
            self.freeze_first < self.total_epochs,
            "--freeze_first {freeze_first} leaves no epoch in which the generators learn: there are {total} in all",
            freeze_first=self.freeze_first, total=self.total_epochs,
        )


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
    init_from: str | None = option(
        None,
        "start from the weights of a checkpoint: folder of a run or of one epoch, or USER/NAME on the Hub; an epoch "
        "other than the newest as SOURCE@12. The networks get its settings where you give no others",
    )
    init_partial: bool = option(
        False, "with --init_from: take the weights that fit, and list the others, instead of refusing"
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
    winograd: bool | None = option(
        None,
        "on CPUs in fp32: compute wide 3×3 convolutions and their gradients with a quarter of the multiplications: "
        "same results up to rounding (default: on where it applies)",
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
    gradient_compression: str = option(
        "none", "with several processes: exchange gradients in half the bytes, rounded to this precision",
        choices=COMPRESSIONS,
    )
    save_precision: str = option("fp32", "precision of published weights", choices=("fp32", "fp16"))
    save_discriminators: bool = option(
        False, "keep the discriminators with each epoch, in files of their own, for a later --init_from"
    )
    save_state_every: str = option(
        "none",
        "also save the training state within an epoch: every 2000steps, or every 15min; none: after each epoch only",
    )
    keep_training_state: int = option(
        1, "number of training states to keep; generators of every epoch are kept", least=1
    )
    sample_count: int = option(4, "fixed test pictures per domain in each epoch's sample grid", least=1)
    samples_every: int = option(
        500, "steps between grids of the test pictures within an epoch, which the app shows (RUN/samples); 0: none",
        least=0,
    )
    evaluate_every: int = option(
        0, "score every Nth epoch on the whole test split, while the next one trains, into RUN/scores/training.json; "
        "0: none", least=0,
    )
    scores: str = option("kid", "scores of --evaluate_every, with commas in between; see python -m cyclegan evaluate")
    keep: str = option(
        "all", "epochs to keep in the run's folder: all; best:3, the best three by --by, and the newest"
    )
    by: str = option("kid", "score, or one of its figures such as pairs_ssim, by which --keep chooses")
    log_every: int = option(100, "steps between lines of losses in metrics.jsonl", least=1)
    report_to: str = option("none", "tracker that also shows losses and samples", choices=TRACKERS)
    trackio_space: str | None = option(
        None, "Space of the Hub where --report_to trackio shows the curves, USER/NAME; created if it is missing"
    )
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
        require(
            self.trackio_space is None or self.report_to == "trackio",
            "--trackio_space {space} is where trackio shows the curves: add --report_to trackio",
            space=self.trackio_space,
        )
        require(
            self.trackio_space is None or re.fullmatch(r"[\w.-]+/[\w.-]+", self.trackio_space, re.ASCII) is not None,
            "--trackio_space {space} can't be a Space's name: use USER/NAME", space=self.trackio_space,
        )
        require(
            not self.push_to_hub or bool(self.hub_model_id),
            "--push_to_hub needs --hub_model_id USER/NAME",
        )
        require(
            re.fullmatch(r"none|last|every:[1-9]\d*", self.hub_training_state) is not None,
            "--hub_training_state {hub_training_state!r} must be every:N, e.g. every:5, or last, or none",
            hub_training_state=self.hub_training_state,
        )
        require(
            re.fullmatch(r"all|best:[1-9]\d{0,5}", self.keep) is not None,
            "--keep {keep!r} must be all, or best:N, e.g. best:3", keep=self.keep,
        )
        require(
            self.keep == "all" or bool(self.evaluate_every),
            "--keep {keep} needs --evaluate_every N, which measures the epochs", keep=self.keep,
        )
        require(
            self.keep == "all" or not self.push_to_hub,
            "--keep {keep} is for a run's own folder, and the Hub keeps every epoch: leave out one of the two",
            keep=self.keep,
        )
        require(
            re.fullmatch(r"none|[1-9]\d{0,8}(steps|min)", self.save_state_every) is not None,
            "--save_state_every {save_state_every!r} must be a number of steps or minutes, e.g. 2000steps or 15min, or "
            "none",
            save_state_every=self.save_state_every,
        )
        require(
            bool(self.init_from) or not self.init_partial, "--init_partial takes nothing without --init_from: add it"
        )
        require(
            not self.cuda_graphs or self.compile, "--cuda_graphs records what --compile has compiled: add --compile"
        )
        contrary = [
            f"--mixed_precision {self.mixed_precision}" if self.mixed_precision not in ("auto", "no") else "",
            f"--gradient_compression {self.gradient_compression}" if self.gradient_compression != "none" else "",
            *(f"--{name}" for name in ("batch_passes", "fused_adam", "winograd", "compile", "channels_last",
                                       "gradient_checkpointing") if getattr(self, name)),
        ]  # fmt: skip
        for flag in filter(None, contrary):
            require(
                not self.reference,
                "--reference computes as published, and {flag} doesn't: leave one out",
                flag=flag,
            )
        given = {"hub_model_id": self.hub_model_id, "hub_private": self.hub_private, "hub_license": self.hub_license,
                 "hub_training_state": self.hub_training_state != "none"}  # fmt: skip
        for name, value in given.items():
            require(
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
        self.loss.check(self)
        for group in (self.data, self.model, self.loss, self.optim, self.run):
            group.validate()
        require(bool(self.data.dataset), "--dataset is missing: a folder, a Hub data set id, or 'streets'")
        require(bool(self.run.output_dir), "--output_dir is missing: the folder that the run is written to")
        require(
            not self.optim.freeze_first or self.loss.trains_discriminators,
            "--freeze_first trains only discriminators, and these options train none: leave it out",
        )
        multiple = self.model.size_multiple
        if not self.data.keeps_shape:
            require(
                self.data.crop_size % multiple == 0,
                "--crop_size {crop_size} does not fit --generator {generator}: use a multiple of {multiple}, or "
                "another --generator, such as resnet_6",
                crop_size=self.data.crop_size, generator=self.model.generator, multiple=multiple,
            )
        require(
            not (self.run.compile and self.data.keeps_shape),
            "--compile needs pictures of one size, which --preprocess {preprocess} does not give: leave it out, or "
            "use --preprocess resize_crop",
            preprocess=self.data.preprocess,
        )
        if self.run.cuda_graphs:
            require(
                self.optim.gradient_accumulation_steps == 1,
                "--cuda_graphs can't add the gradients of several steps: leave out --gradient_accumulation_steps",
            )
        # The networks' layers need this much: see their min_size.
        least = {"patch": 3 * 2**self.model.n_layers_d, "coupled": 8}.get(self.model.discriminator, 2)
        least = max(least, {"unet_256": 256, "unet_128": 128, "encoder_decoder": 32}.get(self.model.generator, 8))
        require(
            self.data.crop_size >= least or self.data.preprocess == "none",
            "--crop_size {crop_size} is too small for these networks: at least {least}, or fewer --n_layers_d",
            crop_size=self.data.crop_size, least=least,
        )
