"""One thread per test process: on a shared machine, threads that wait for each other cost more than they give."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # Before torch is imported; scripts run by tests inherit it.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
os.environ["CYCLEGAN_LAYERS"] = "fixed"  # The same bits in every process, and nothing is left in the user's cache.
os.environ["HF_HUB_OFFLINE"] = "1"  # Tests never need a network.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import hashlib  # noqa: E402
import subprocess  # noqa: E402
from collections import Counter  # noqa: E402
from pathlib import Path  # noqa: E402
from types import SimpleNamespace  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from PIL import Image  # noqa: E402

from cyclegan.data.domains import StreetsDomain  # noqa: E402
from cyclegan.study import build  # noqa: E402
from tests import scripts  # noqa: E402

SLOW = (
    "study/test_player_browser.py", "training/test_train.py", "training/test_nodes.py",
    "ui/pages/test_translate_browser.py",
    "hub/test_training_push.py", "hub/test_end_to_end.py", "ui/pages/test_compare_browser.py",
    "checkpoints/test_export_onnx.py", "ui/pages/test_files_browser.py", "hub/test_space.py",
    "hub/test_job.py", "test_notebook.py",
    "ui/pages/test_checkpoints_browser.py", "ui/pages/test_first_epoch_browser.py",
    "ui/pages/test_studies_browser.py", "ui/test_hostile_uploads.py", "ui/pages/test_translate_page.py",
    "ui/pages/test_files_page.py", "study/test_simulate.py", "study/test_whole_sessions.py", "test_old_data.py",
    "methods/test_another_method.py", "translation/test_many_processes.py",
    "training/test_processes.py", "test_package.py",
    "evaluation/scores/test_processes.py", "experiments/test_experiment.py",
    "ui/pages/test_scores_browser.py", "ui/pages/test_compare_page.py", "study/test_make.py",
    "ui/pages/test_checkpoints_page.py", "experiments/test_study.py", "commands/test_study.py", "hub/test_publish.py",
    "evaluation/scores/test_bad_answers.py", "experiments/test_adaptation.py", "ui/pages/test_studies_page.py",
    "ui/test_documented_api.py", "methods/test_extra_terms.py", "ui/guard/test_attacks.py",
    "training/test_stream_training.py", "hub/test_stream_training.py", "training/test_trackers.py",
    "hub/test_endpoint.py", "hub/test_widget.py", "hub/test_check.py", "benchmarks/test_scale.py",
)  # fmt: skip
"""Files that take half a minute and more: pages in Chromium, whole trainings, exports. `make test-slow` runs them, the
first ones first, so that no process is left alone with one in the end."""
LONG = ("study/test_report.py", "commands/test_commands.py", "training/test_trainer.py", "data/test_streets.py")
"""The longest of the others, which come first for the same reason."""


def pytest_collection_modifyitems(items):
    """Order and mark the files, and say why a test is skipped; the browser tests' own fixture does so for Chromium."""
    place = {Path(__file__).parent / name: number for number, name in enumerate((*SLOW, *LONG))}
    items.sort(key=lambda item: place.get(item.path, len(place)))
    for item in items:
        if place.get(item.path, len(SLOW)) < len(SLOW):
            item.add_marker("slow")
        if "gpu" in item.keywords:
            import torch

            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def small_scenes_are_drawn_once():
    """The scenes of `streets` are the same in every test, and drawing them took a large part of the suite's time."""
    kept = {}

    def once(draw):
        def found(domain, *at):
            spec = domain.spec
            if spec.width * spec.height > 96**2:
                return draw(domain, *at)
            scene = (spec.seed, spec.width, spec.height, str(spec.density_a), str(spec.density_b), spec.a, spec.b)
            key = (draw.__name__, *scene, domain.split, domain.side, *at)
            if key not in kept:
                kept[key] = draw(domain, *at)
            return kept[key].copy()

        return found

    with pytest.MonkeyPatch.context() as patch:
        for name in ("_picture", "labels"):
            patch.setattr(StreetsDomain, name, once(getattr(StreetsDomain, name)))
        yield


@pytest.fixture(scope="session", autouse=True)
def studies_are_the_same_in_every_run():
    """A study's secret decides who sees what, so that figures from its votes would differ by chance."""
    drawn = Counter()

    def token_hex(count):
        test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
        drawn[test] += 1
        return hashlib.shake_256(f"{test} {drawn[test]}".encode()).hexdigest(count)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "secrets", SimpleNamespace(token_hex=token_hex))
        yield


@pytest.fixture
def start_script():
    """Start one of the repository's programs (tests/scripts.py says how); it is killed if it outlives the test."""
    started = []

    def start(*arguments, env=None, plain=False):
        started.append(scripts.start(*arguments, env={**os.environ, **(env or {})}, plain=plain))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run_script(start_script):
    """Run one of the repository's programs as a person would; the finished process, with its text."""

    def run(*arguments, ok=True, timeout=240, env=None, plain=False):
        process = start_script(*arguments, env=env, plain=plain)
        out, err = process.communicate(timeout=timeout)
        if ok:
            assert process.returncode == 0, err[-3000:]
        assert "Traceback" not in err, err[-3000:]
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


@pytest.fixture
def any_precision():
    """Accelerate's state is one per process, and keeps its first precision."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


@pytest.fixture
def picture_folders(tmp_path):
    """A data set on disk: reddish trainA, bluish trainB, and a test set; 40×40 PNG files."""
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    for folder, count, tint in (("trainA", 3, 0), ("trainB", 4, 2), ("testA", 2, 0), ("testB", 2, 2)):
        (root / folder).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 120, (40, 40, 3))
            pixels[..., tint] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(root / folder / f"{index}.png")
    return root


TINY = ("--generator", "resnet_6", "--ngf", "4", "--ndf", "4", "--load_size", "36", "--crop_size", "32",
        "--sample_count", "2", "--log_every", "1")  # fmt: skip


@pytest.fixture
def tiny_flags(picture_folders):
    """Flags of a training that takes seconds."""
    return ("--dataset", str(picture_folders), *TINY)


@pytest.fixture
def make_checkpoint():
    """Write an epoch of untrained networks into a run's folder."""

    def make(run, epoch=1, *, directions=("ab", "ba"), generator="resnet_6", crop_size=32, half=False, seed=0):
        import torch

        from cyclegan.checkpoints.format import GENERATOR_OF, CheckpointConfig, save_checkpoint
        from cyclegan.config import DataConfig, ModelConfig
        from cyclegan.networks import build_generator

        model = ModelConfig(generator=generator, ngf=4, init_gain=0.2)
        torch.manual_seed(seed + epoch)
        return save_checkpoint(
            Path(run),
            epoch=epoch,
            weights={GENERATOR_OF[d]: build_generator(model).state_dict() for d in directions},
            config=CheckpointConfig(model, DataConfig(dataset="d", domain_a="day", domain_b="night",
                                                      crop_size=crop_size, load_size=crop_size + 4)),
            record={"global_step": 10 * epoch, "losses": {"cycle_a": 1.0 / epoch}, "metrics": {"diversity_ab": 0.5}},
            half=half,
        )  # fmt: skip

    return make
