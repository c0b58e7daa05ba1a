"""The translate page without a browser: through the API of the running app, and by function where that is enough."""

import asyncio
import json
import re
import shutil
import socket
import subprocess
import sys

import pytest
from PIL import Image

import app as app_module
from cyclegan.errors import CheckpointError, ImageError
from tests.ui.conftest import ROOT, fetch, picture, write_epoch

pytestmark = pytest.mark.xdist_group("app")
ERROR_WORDS = re.compile(r"Reconstruction: L1 \d+\.\d of 255 grey levels, PSNR \d+\.\d dB, SSIM -?\d\.\d{3}\. .*")


@pytest.fixture
def translate(client):
    """Send a file, get (note, ab, ba); each reading is [input, translated, back, lost, words], pictures opened."""
    from gradio_client import handle_file

    def send(path, **parameters):
        note, *rest = client.predict(handle_file(path), **parameters, api_name="/translate")
        readings = [[opened(p) for p in part[:4]] + [part[4]] for part in (rest[:5], rest[5:])]
        return note, *readings

    def opened(path):
        if path is None:
            return None
        with Image.open(path) as image:
            image.load()
            return image

    return send


# --- starting -----------------------------------------------------------------------------------------------


def test_pages_are_imported_without_torch():
    code = (
        "import sys, app; from cyclegan.ui.pages import checkpoints, compare, files, studies, translate; "
        "slow = ('torch', 'torchvision', 'datasets', 'accelerate', 'matplotlib', 'skimage'); "
        "print([name for name in slow if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stderr


def test_page_answers_soon_and_reports_to_nobody(app):
    assert app.started_s < 30  # 10 s on a quiet machine
    with fetch(f"{app.url}config") as reply:
        config = json.load(reply)
    assert config["analytics_enabled"] is False
    assert config["title"] == "CycleGAN workbench"


@pytest.mark.parametrize("specs, said", [
    (["nowhere"], "nowhere is not a folder"),
    (["{tmp}"], "holds no checkpoint"),
    (["{tmp}/damaged"], "damaged holds no readable checkpoint"),
])
def test_bad_checkpoints_are_one_sentence(tmp_path, capsys, specs, said):
    (write_epoch(tmp_path / "damaged", 1) / "config.json").write_text("{")
    assert app_module.main(["--checkpoints", *(spec.format(tmp=tmp_path) for spec in specs)]) == 1
    out, err = capsys.readouterr()
    assert said in err and err.startswith("error: ") and err.count("\n") == 1 and not out


def test_without_a_demo_run_the_remedy_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(app_module, "DEMO", tmp_path)
    assert app_module.main([]) == 1
    assert "--checkpoints" in capsys.readouterr().err


@pytest.mark.parametrize("inner", ["", "streets", "a b"])
def test_demo_runs_are_found(tmp_path, monkeypatch, inner):
    write_epoch(tmp_path / inner, 1)
    monkeypatch.setattr(app_module, "DEMO", tmp_path)
    assert [source.list()[0].epoch for source in app_module.open_sources(None)] == [1]


def test_a_folder_in_which_no_run_has_begun_is_an_error(tmp_path):
    from hub import open_begun

    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        open_begun(str(tmp_path))
    (tmp_path / "run.json").write_text("{}")
    assert open_begun(str(tmp_path)).list() == []


def test_a_run_that_is_starting_or_damaged_stops_no_other(tmp_path, caplog):
    for name in ("starting", "damaged", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "starting" / "run.json").write_text("{}")
    (write_epoch(tmp_path / "damaged", 1) / "config.json").write_text("{")
    names = ["empty", "damaged", "starting"]
    opened = app_module.open_sources([str(tmp_path / name) for name in names])
    assert [source.name for source in opened] == ["starting", "empty", "damaged"]
    write_epoch(tmp_path / "good", 1)
    opened = app_module.open_sources([str(tmp_path / name) for name in (*names, "good")])
    assert [source.name for source in opened] == ["starting", "good", "empty", "damaged"], "as they were named"
    assert "damaged holds no readable checkpoint" in caplog.text and "empty holds no checkpoint" in caplog.text
    assert [source.name for source in app_module.open_sources([str(tmp_path / "starting")])] == ["starting"]
    with pytest.raises(CheckpointError, match="holds no checkpoint: a run's folder holds"):
        app_module.open_sources([str(tmp_path / "empty")])
    with pytest.raises(CheckpointError, match="nowhere is not a folder"):
        app_module.open_sources([str(tmp_path / "good"), str(tmp_path / "nowhere")])


def test_port_in_use_names_the_remedy(app, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert app_module.main(["--checkpoints", str(app.run), "--port", str(port)]) == 1
    err = capsys.readouterr().err
    assert "in use" in err and f"--port {port + 1}" in err and err.count("\n") == 1


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_impossible_ports_are_refused(capsys, port):
    with pytest.raises(SystemExit):
        app_module.main(["--port", port])
    assert "is not a port" in capsys.readouterr().err


# --- translating --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["auto", "training", "original"])
def test_both_readings_at_the_inputs_size(translate, tmp_path, size):
    path = tmp_path / "odd.png"
    picture(97, 61).save(path)
    note, ab, ba = translate(path, size=size)
    assert note.startswith("Epoch 2, 97×61 pixels")
    for reading in (ab, ba):
        assert [p.size for p in reading[:4]] == [(97, 61)] * 4
        assert [p.format for p in reading[:4]] == ["PNG"] * 4
        assert ERROR_WORDS.fullmatch(reading[4])
    assert ab[0].tobytes() == picture(97, 61).tobytes()
    assert (ab[1].info["cyclegan:direction"], ba[1].info["cyclegan:direction"]) == ("ab", "ba")
    assert ab[1].tobytes() != ba[1].tobytes()


def test_results_are_the_translators(translate, app, tmp_path):
    from cyclegan.evaluation.reconstruction import heat_map
    from cyclegan.translation.translator import Translator
    from hub import open_source

    path = tmp_path / "in.png"
    picture(64, 48).save(path)
    _, ab, _ = translate(path, epoch="epoch-0001", size="training")
    wanted = Translator(open_source(app.run).load(1), "cpu").translate(
        picture(64, 48), "ab", reconstruct=True, size=32
    )
    assert ab[1].tobytes() == wanted.fake.tobytes()
    assert ab[2].tobytes() == wanted.rec.tobytes()
    assert f"L1 {wanted.reconstruction_l1:.1f} of" in ab[4]
    assert ab[3].tobytes() == heat_map(*wanted.worked[::-1]).resize((64, 48), Image.Resampling.BICUBIC).tobytes()


def test_a_photograph_is_read_upright(translate, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    picture(60, 40).save(tmp_path / "photo.jpg", exif=exif)
    _, ab, _ = translate(tmp_path / "photo.jpg")
    assert [p.size for p in ab[:4]] == [(40, 60)] * 4


def test_sixteen_bits_keep_their_range(translate, tmp_path):
    import numpy as np

    ramp = np.linspace(0, 65535, 40 * 30).reshape(30, 40).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "grey.tif")
    _, ab, _ = translate(tmp_path / "grey.tif")
    assert ab[0].getpixel((0, 0)) == (0, 0, 0) and ab[0].getpixel((39, 29)) == (255, 255, 255)


def test_what_a_picture_loses_is_said(translate, tmp_path, monkeypatch):
    import numpy as np

    from cyclegan.ui import inputs

    Image.fromarray((np.arange(64, dtype=np.uint16) * 65).reshape(8, 8)).save(tmp_path / "slice.png")
    note = translate(tmp_path / "slice.png")[0]
    lost = "About your picture: 16-bit pictures use only 0..4095 of 65535 and become 17 grey levels: multiply"
    assert note.startswith("Epoch 2") and lost in note
    # The box then holds a copy of 8 bits of what browsers can't show, so the remark about the file itself pops up.
    said = []
    monkeypatch.setattr(inputs.gr, "Info", lambda text, **options: said.append(text))
    monkeypatch.setattr(inputs, "get_upload_folder", lambda: str(tmp_path))
    Image.open(tmp_path / "slice.png").save(tmp_path / "slice.tif")
    shown = inputs.for_browsers({"path": str(tmp_path / "slice.tif")}, None)
    assert shown.size == (8, 8) and len(said) == 1 and said[0].startswith(lost)


@pytest.mark.parametrize("content, said", [
    (b"hello", "not a picture"),
    (b"", "empty"),
    ("half", "truncated"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
])
def test_bad_uploads_are_one_sentence_and_the_next_works(translate, tmp_path, content, said):
    path = tmp_path / "<i>bad.png"
    if content == "half":
        picture(80, 80).save(path)
        content = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(content)
    with pytest.raises(Exception, match=said) as caught:
        translate(path)
    assert "bad.png is " in str(caught.value)
    assert "Traceback" not in str(caught.value) and "\n" not in str(caught.value) and "<" not in str(caught.value)
    picture(40, 40).save(tmp_path / "good.png")
    assert translate(tmp_path / "good.png")[0].startswith("Epoch")


def test_one_direction_shows_one_reading(translate, tmp_path):
    picture(40, 32).save(tmp_path / "in.png")
    _, ab, ba = translate(tmp_path / "in.png", run="oneway")
    assert ab[0].size == ab[1].size == (40, 32)
    assert ab[2:] == [None, None, ""] and ba == [None, None, None, None, ""]


@pytest.mark.parametrize("parameters, said", [
    ({"epoch": "epoch-0009"}, "no epoch 9"),
    ({"epoch": "last"}, "isn't an epoch"),
    ({"run": "elsewhere"}, "elsewhere is not a folder"),
    ({"size": "huge"}, "working size"),
    ({"size": "4"}, "8 to 8192 pixels"),
    ({"reading": "ac"}, "no reading"),
])
def test_wrong_parameters_are_told(translate, tmp_path, parameters, said):
    picture(40, 32).save(tmp_path / "in.png")
    with pytest.raises(Exception, match=said):
        translate(tmp_path / "in.png", **parameters)


def test_a_new_epoch_is_the_newest_at_once(translate, app, tmp_path):
    picture(40, 32).save(tmp_path / "in.png")
    added = write_epoch(app.run, 3)
    try:
        assert translate(tmp_path / "in.png")[0].startswith("Epoch 3")
    finally:
        shutil.rmtree(added)
    assert translate(tmp_path / "in.png")[0].startswith("Epoch 2")


def test_the_api_describes_itself(client):
    described = client.view_api(return_format="dict")["named_endpoints"]["/translate"]
    assert "picture" in described["description"]
    parameters = {p["parameter_name"]: p for p in described["parameters"]}
    assert list(parameters) == ["image", "run", "epoch", "size", "reading"]
    assert [p["parameter_has_default"] for p in parameters.values()] == [False, True, True, True, True]


# --- what needs no running app ------------------------------------------------------------------------------


@pytest.mark.parametrize("size, choice, device, worked, capped", [
    ((640, 480), "auto", "cpu", 256, False),
    ((200, 160), "auto", "cpu", None, False),
    ((100, 90), "auto", "cpu", 128, False),
    ((640, 480), "training", "cpu", 128, False),
    ((640, 480), "original", "cpu", None, False),
    ((128, 128), "training", "cpu", None, False),
    ((1, 1), "training", "cpu", 128, False),
    ((4000, 3000), "training", "cpu", 128, False),
    ((4000, 3000), "original", "cpu", 866, True),
    ((4000, 3000), "original", "cuda", 2449, True),
    ((3, 2000), "training", "cpu", 30, True),
    ((600, 1), "auto", "cuda", 33, True),
    ((20_000, 2), "training", "cuda", 2, True),
    ((20_000, 2000), "training", "cuda", 128, False),
    ((3, 2000), "original", "cpu", None, False),
])
def test_working_sizes_are_capped(size, choice, device, worked, capped):
    from cyclegan.config import DataConfig
    from cyclegan.ui.inputs import working_side
    from cyclegan.ui.words import speaker

    found, said = working_side(size, choice, DataConfig(crop_size=128), device, speaker())
    assert found == worked and bool(said) == capped


@pytest.mark.parametrize("preprocess, size, side", [
    ("resize_crop", (640, 480), 128),
    ("resize", (480, 640), 128),
    ("crop", (640, 480), 480),
    ("crop", (640, 48), 128),
    ("none", (640, 48), 48),
    ("scale_width", (640, 480), 96),
    ("scale_width_crop", (640, 480), 150),
    ("scale_width_crop", (640, 48), 128),
])
def test_training_size_is_the_scale_of_training(preprocess, size, side):
    from cyclegan.config import DataConfig
    from cyclegan.ui.inputs import training_side

    assert training_side(size, DataConfig(crop_size=128, load_size=200, preprocess=preprocess)) == side


def test_huge_pictures_are_reduced():
    from cyclegan.ui.inputs import MAX_SHOWN_PIXELS, reduced
    from cyclegan.ui.words import speaker

    smaller, said = reduced(Image.new("RGB", (4000, 2000)), (8000, 4000), speaker())
    assert smaller.width * smaller.height <= MAX_SHOWN_PIXELS
    assert abs(smaller.width / smaller.height - 2) < 0.01
    assert said == [f"Your picture of 8000×4000 was reduced to {smaller.width}×{smaller.height} first."]


def test_a_run_that_went_away_is_told(tmp_path):
    from cyclegan.ui.runs import listed
    from hub import open_source

    write_epoch(tmp_path / "run", 1)
    source = open_source(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(CheckpointError, match="run can't be listed any more"):
        listed(source)


def test_examples_alternate(tmp_path):
    from cyclegan.checkpoints.sources import LocalSource
    from cyclegan.ui.runs import examples_of

    write_epoch(tmp_path, 1)
    assert examples_of(LocalSource(tmp_path)) == []
    (tmp_path / "examples").mkdir()
    for name in ("a_2.png", "a_10.png", "b_1.png", "other.png", "a_3.txt"):
        picture(8, 8).save(tmp_path / "examples" / name, format="PNG")
    (tmp_path / "examples" / "a_0.png").touch()
    Image.new("L", (4000, 1001)).save(tmp_path / "examples" / "b_0.png")  # Too large to be decoded for each visitor.
    assert [path.name for path in examples_of(LocalSource(tmp_path))] == ["a_2.png", "b_1.png", "a_10.png"]


def test_a_source_without_examples_to_give_stops_nothing(tmp_path):
    from cyclegan.checkpoints.sources import LocalSource
    from cyclegan.ui.runs import examples_of

    class Broken(LocalSource):
        def examples(self):
            raise CheckpointError("the Hub can't be reached")

    write_epoch(tmp_path, 1)
    assert examples_of(Broken(tmp_path)) == []


def test_another_runs_source_is_not_asked(tmp_path, monkeypatch):
    """A slow or broken run is nobody's matter who looks at another; an example gives way to the other run's."""
    import gradio as gr

    from cyclegan.checkpoints.sources import LocalSource
    from cyclegan.ui.pages.translate import build
    from cyclegan.ui.workbench import Workbench

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    asked = []

    class Source(LocalSource):
        def examples(self):
            asked.append(self.name)
            return super().examples()

    for name in ("one", "two"):
        write_epoch(tmp_path / name, 1)
        (tmp_path / name / "examples").mkdir()
        picture(40, 40).save(tmp_path / name / "examples" / f"a_{name}.png")

    async def built():  # gradio would make an event loop of its own, and leave it open
        with gr.Blocks() as page:
            build(Workbench([Source(tmp_path / name) for name in ("one", "two")]))
        return page

    page = asyncio.run(built())
    (first_picture, *_) = (fn.fn for fn in page.fns.values() if fn.name == "first_picture")
    shown = first_picture("one", None, None)[0]
    assert shown.endswith("a_one.png") and set(asked) == {"one"}
    asked.clear()
    assert first_picture("two", {"path": shown}, None)[0].endswith("a_two.png") and asked == ["two"]
    own = tmp_path / "cache" / "0123" / "a_one.png"  # A visitor's, whatever its name.
    own.parent.mkdir(parents=True)
    picture(20, 20).save(own)
    asked.clear()
    kept = first_picture("two", {"path": str(own)}, None)[0]
    assert kept.endswith("a_one.png") and kept != str(own) and asked == []


def test_long_domain_names_fit_into_a_file_name():
    from cyclegan.ui.results import file_name

    name = file_name("epoch-0001 as " + "夜" * 300)
    assert name.startswith("epoch-0001_as_夜") and name.endswith("夜") and len(name.encode()) <= 80


def test_epochs_are_labelled(tmp_path):
    import dataclasses

    from cyclegan.checkpoints.format import read_info
    from cyclegan.ui.runs import epoch_label
    from cyclegan.ui.words import Speaker, speaker

    info = dataclasses.replace(read_info(write_epoch(tmp_path, 12)), created="2026-11-21T06:44:24+00:00")
    assert epoch_label(info, speaker()) == "epoch 12 — 2026-11-21, cycle 0.30"
    assert epoch_label(dataclasses.replace(info, losses={}), speaker()) == "epoch 12 — 2026-11-21"
    assert epoch_label(dataclasses.replace(info, losses={}, created=""), speaker()) == "epoch 12"
    assert epoch_label(info, Speaker("ko")) == "에폭 12 — 2026-11-21, 순환 손실 0.30"


def test_the_unforeseen_is_logged_and_told_in_general(caplog):
    from cyclegan.ui.feedback import page_error

    told = page_error(ZeroDivisionError("secret detail"))
    assert "went wrong" in told.message and "secret" not in told.message
    assert "secret detail" in caplog.text
    assert "memory" in page_error(RuntimeError("CUDA out of memory. Tried to allocate")).message
    assert page_error(ImageError("<x> is bad")).message == "&lt;x&gt; is bad"


def test_runs_of_one_name_are_told_apart(tmp_path):
    from cyclegan.ui.workbench import Workbench
    from hub import open_source

    for parent in ("one", "two"):
        write_epoch(tmp_path / parent / "run", 1)
    bench = Workbench([open_source(tmp_path / parent / "run") for parent in ("one", "two")])
    assert list(bench.runs) == ["run", "run (2)"]
    assert bench.run("run (2)").folder == tmp_path / "two" / "run"


def test_warming_survives_what_it_can_not_load(tmp_path):
    from cyclegan.ui.workbench import Workbench
    from hub import open_source

    (write_epoch(tmp_path, 1) / "gen_ab.safetensors").write_bytes(b"damaged")
    bench = Workbench([open_source(tmp_path)])
    bench.warm()
    assert bench.ready.wait(300)


# --- what a stranger may not read ---------------------------------------------------------------------------


@pytest.mark.parametrize("meta", [{"meta": {"_type": "gradio.FileData"}}, {}])
def test_files_of_the_server_are_not_served(app, tmp_path, meta):
    """A request that names a file of the server, instead of one that was uploaded, gets nothing of it."""
    import json
    import urllib.error

    secret = tmp_path / "secret.tif"  # Of a kind that every one of these would open.
    picture(23, 19).save(secret)
    payload = {"path": str(secret), **meta}
    config = json.loads(fetch(f"{app.url}config").read())
    asked = 0
    for dependency in config["dependencies"]:
        kinds = {c["id"]: c["type"] for c in config["components"]}
        if "image" not in [kinds.get(i) for i in dependency["inputs"]] or not dependency["api_name"]:
            continue
        data = [payload if kinds[i] == "image" else None for i in dependency["inputs"]]
        if kinds[dependency["inputs"][0]] == "dropdown":
            data[0] = "streets"
        name = dependency["api_name"]
        # A session each: as one's stream ends, gradio may drop what waits for the next one's, which then never comes.
        body = {"data": data, "session_hash": f"stranger-{len(meta)}-{asked}"}
        try:
            event = json.loads(fetch(f"{app.url}gradio_api/call/{name}", body).read())["event_id"]
            reply = fetch(f"{app.url}gradio_api/call/{name}/{event}").read().decode()
        except urllib.error.HTTPError as error:
            reply = error.read().decode()
        asked += 1
        # Neither the picture, nor its size, nor that it could be read.
        assert not any(word in reply for word in ("23×19", "secret", '"path"', '"update",')), (name, reply)
    assert asked >= 4
