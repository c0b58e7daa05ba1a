"""The library as a user imports it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cyclegan

ROOT = Path(__file__).parent.parent


def test_importing_it_loads_no_other_library():
    code = "import sys, cyclegan; print(cyclegan.__version__, *sorted(m.partition('.')[0] for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    version, *loaded = done.stdout.split()
    assert version == cyclegan.__version__ and "cyclegan" in loaded
    assert not {"torch", "numpy", "PIL", "safetensors", "huggingface_hub", "gradio", "hub"} & set(loaded)


@pytest.mark.parametrize("name", cyclegan.__all__)
def test_every_public_name_is_there(name):
    value = getattr(cyclegan, name)
    assert value is not None and getattr(cyclegan, name) is value and name in dir(cyclegan)
    assert name == "__version__" or value.__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'cyclegan' has no attribute 'nothing'"):
        cyclegan.nothing  # noqa: B018


def test_the_documented_example(tmp_path, make_checkpoint):
    make_checkpoint(tmp_path / "run", 200)
    picture = np.random.default_rng(0).integers(0, 256, (33, 40, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    source = cyclegan.open_source(tmp_path / "run")
    translator = cyclegan.Translator(source.load(200), "cpu")
    fake = translator.translate(cyclegan.open_image(tmp_path / "a.png"), "ab").fake
    assert fake.size == (40, 33)
    with pytest.raises(cyclegan.UserError, match="is not a folder"):
        cyclegan.open_source(tmp_path / "none")
