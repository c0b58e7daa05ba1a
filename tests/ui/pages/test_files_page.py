"""The page of videos and files without a browser: through the API of the running app, and by function."""

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
import zipfile
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.translation.test_video_io import make_clip
from tests.ui.conftest import HEADERS, fetch, half_files, paths_in, picture, write_epoch

pytestmark = pytest.mark.xdist_group("app")
FILE = {"meta": {"_type": "gradio.FileData"}}
WAIT_S = 60
REGULAR = [Fraction(i, 10) for i in range(6)]


@pytest.fixture
def video(client):
    """Send a video, get (note, path)."""
    from gradio_client import handle_file

    def send(path, **parameters):
        note, result = client.predict(handle_file(path), **parameters, api_name="/translate_video")
        return note, result["video"] if isinstance(result, dict) else result

    return send


@pytest.fixture
def files(client):
    """Send files, get (note, path)."""
    from gradio_client import handle_file

    def send(*paths, **parameters):
        return client.predict([handle_file(path) for path in paths], **parameters, api_name="/translate_files")

    return send


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Six frames, a tone, 64×48."""
    return make_clip(tmp_path_factory.mktemp("clip") / "drive.mov", REGULAR, sound="aac")


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory):
    """More than is done in the time that anything here takes."""
    times = [Fraction(i, 30) for i in range(900)]
    return make_clip(tmp_path_factory.mktemp("long") / "long.mp4", times, size=(32, 24))


@pytest.fixture
def nothing_left(app):
    """Whatever a test asks for, no half file stays, and no folder of a result that was never finished."""
    cache = app.run.parent / "cache"

    def made():
        return {path for path in paths_in(cache) if "epoch-" in path.name}

    before = made()
    yield made
    until(lambda: made() == before)
    assert not half_files(cache)
    assert not [path for path in cache.iterdir() if path.is_dir() and len(path.name) == 32 and not any(path.iterdir())]


def until(true, seconds=WAIT_S):
    """Wait; fail if it never comes true."""
    for _ in range(20 * seconds):
        if true():
            return
        time.sleep(0.05)
    pytest.fail("it never came true")


def facts(path):
    import av

    with av.open(str(path)) as container:
        stream, sound = container.streams.video[0], container.streams.audio
        heard = [bytes(p) for p in container.demux(sound[0]) if p.size] if sound else None
        return (stream.width, stream.height), stream.frames, stream.average_rate, container.duration, heard


# --- videos -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters, size", [
    ({}, (86, 64)),  # Twice the training size, because 256 is more.
    ({"size": "original"}, (64, 48)),
    ({"size": "27", "direction": "ba", "epoch": "epoch-0001"}, (36, 28)),
    ({"size": "196 px", "smoothing": 0.5}, (262, 196)),
    ({"run": "oneway", "size": "208"}, (278, 208)),
])
def test_a_video_keeps_its_frames_and_its_sound(video, clip, parameters, size):
    note, path = video(clip, **parameters)
    assert facts(path)[0] == size and facts(path)[1:] == facts(clip)[1:]
    epoch = {"run": 7, "epoch": 1}.get(next((name for name in ("run", "epoch") if name in parameters), ""), 2)
    assert note.startswith(f"6 frames, 0.6 s, {size[0]}×{size[1]} pixels, with its sound; translated with epoch ")
    assert f"epoch {epoch} in" in note
    assert "Flicker where nothing moves: " in note and ("after smoothing" in note) == ("smoothing" in parameters)
    assert path.endswith(".mp4") and "drive_as_" in path


def test_only_files_that_were_made_here_are_shown_together(tmp_path, monkeypatch):
    from cyclegan.errors import ImageError
    from cyclegan.ui import inputs, jobs
    from cyclegan.ui.results import SERVED

    monkeypatch.setattr(inputs, "get_upload_folder", lambda: str(tmp_path))
    paths = given, made, both = [tmp_path / name for name in ("in.mov", "out.mp4", "out_side_by_side.mp4")]
    for path in paths:
        path.write_bytes(b"x")
    payloads = [{"path": str(path)} for path in paths]
    assert jobs.compared(payloads[0], payloads[1]) is None  # Another visitor's upload, for all we know.
    monkeypatch.setattr(jobs, "SERVED", {*SERVED, str(made)})
    shown = jobs.compared(payloads[0], payloads[1])
    assert shown == {"given": f"gradio_api/file={given}", "made": f"gradio_api/file={made}",
                     "both": f"gradio_api/file={both}"}  # fmt: skip
    both.unlink()
    assert set(jobs.compared(payloads[0], payloads[1])) == {"given", "made"}
    assert jobs.compared(None, payloads[1]) is jobs.compared(payloads[0], None) is None
    (tmp_path / "in.avi").write_bytes(b"x")
    assert jobs.compared({"path": str(tmp_path / "in.avi")}, payloads[1]) is None
    with pytest.raises(ImageError, match="no longer here"):
        jobs.compared({"path": str(tmp_path / "gone.mov")}, payloads[1])
    with pytest.raises(ImageError, match="uploaded here"):
        jobs.compared({"path": "/etc/in.mov"}, payloads[1])


def test_frames_are_the_translators(video, clip, app):
    from cyclegan.images import mean_difference
    from cyclegan.translation.translator import Translator
    from cyclegan.translation.video import translate_video
    from cyclegan.translation.video_io import Video
    from hub import open_source

    _, path = video(clip, size="32", direction="ba", smoothing=1)
    wanted = app.run.parent / "wanted.mp4"
    translator = Translator(open_source(app.run).load(2), "cpu")
    translate_video(translator, clip, wanted, "ba", size=32, scale_back=False, smoothing=1, batch_size=1)
    for got, want in zip(Video(path).frames(), Video(wanted).frames(), strict=True):
        assert got.time == want.time and mean_difference(got.image, want.image) < 0.5


def test_what_browsers_do_not_play_is_taken(video, tmp_path):
    path = make_clip(tmp_path / "old.avi", REGULAR, codec="mpeg4", tick=Fraction(1, 10), sound="ac3")
    note, result = video(path, size="original")
    assert note.startswith("6 frames, 0.6 s, 64×48 pixels, with its sound") and facts(result)[1] == 6


def test_an_odd_size_and_a_truncated_file_give_what_there_is(video, tmp_path):
    odd = make_clip(tmp_path / "odd.mkv", REGULAR, size=(33, 21), pix="yuv444p")
    note, result = video(odd, size="original")
    assert "34×22 pixels, without sound" in note and facts(result)[0] == (34, 22)
    whole = make_clip(tmp_path / "whole.mp4", sound="aac", movflags="faststart").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    note, result = video(tmp_path / "cut.mp4", size="original")
    assert "damaged or missing frames were left out" in note and 3 < facts(result)[1] < 20


@pytest.mark.parametrize("name, said", [
    ("text.mp4", "not a video"), ("empty.mp4", "is empty"), ("half.mp4", "truncated or damaged"),
    ("song.mp4", "has sound only"), ("none.mp4", "no frame that can be read"), ("<i>list.mp4", "not a video"),
])  # fmt: skip
def test_hostile_videos_are_one_sentence(video, tmp_path, nothing_left, name, said):
    path = tmp_path / name
    match name:
        case "half.mp4":
            data = make_clip(path, REGULAR).read_bytes()
            path.write_bytes(data[: len(data) // 2])
        case "song.mp4":
            make_clip(path, REGULAR, sound="aac", picture=False)
        case "none.mp4":
            make_clip(path, [], movflags="empty_moov")
        case "<i>list.mp4":
            path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n/etc/passwd\n")
        case "empty.mp4":
            path.write_bytes(b"")
        case _:
            path.write_text("hello")
    with pytest.raises(Exception, match=said) as caught:
        video(path)
    assert "\n" not in str(caught.value) and "<" not in str(caught.value)


@pytest.mark.parametrize("parameters, said", [
    ({"size": "huge"}, "working size"),
    ({"size": "4"}, "8 to 8192 pixels"),
    ({"smoothing": 3}, "from 0 to 1"),
    ({"direction": "aa"}, "isn't a valid direction"),
    ({"direction": "ba", "run": "oneway"}, "A → B only"),
    ({"epoch": "epoch-0009"}, "no epoch 9"),
    ({"run": "elsewhere"}, "elsewhere is not a folder"),
])
def test_wrong_parameters_are_told(video, clip, nothing_left, parameters, said):
    with pytest.raises(Exception, match=said):
        video(clip, **parameters)


# --- many files ---------------------------------------------------------------------------------------------


def test_files_and_zips_become_a_zip(files, app, tmp_path):
    from cyclegan.checkpoints.format import read_info

    for seed, name in enumerate(("2.png", "10.png")):
        picture(48, 40, seed).save(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "trip.zip", "w") as archive:
        archive.write(tmp_path / "2.png", "day/2.png")
        archive.write(tmp_path / "2.png", "../../2.png")
        archive.writestr("<b>notes.txt", "x")
    (tmp_path / "text.png").write_text("hello")
    picture(900, 1).save(tmp_path / "strip.png")
    Image.fromarray(np.arange(48 * 40, dtype=np.uint16).reshape(40, 48)).save(tmp_path / "10.png")
    names = ("10.png", "trip.zip", "2.png", "text.png", "strip.png")
    note, path = files(*(tmp_path / name for name in names), direction="ba", size="64")
    assert note.startswith("5 of 7 files translated with epoch 2, night → day, in ")
    assert "Worked at a smaller size and scaled back" in note and "would take this computer too long: 1." in note
    assert "About your pictures: 16-bit pictures use only 0..1919 of 65535 and become 8 grey levels: multiply" in note
    assert "Left out: &lt;b&gt;notes.txt is not a picture; text.png is not a picture" in note
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["10.png", "2-2.png", "2.png", "day/2.png", "left_out.txt", "strip.png"]
        with Image.open(archive.open("10.png")) as image:
            assert image.size == (48, 40) and image.info["cyclegan:direction"] == "ba"
            assert image.info["cyclegan:epoch"] == "2"
            assert image.info["cyclegan:commit_sha"] == read_info(app.run / "epoch-0002").commit_sha


@pytest.mark.parametrize("content, said", [
    (b"PK\x03\x04 no", "damaged or isn't a zip"),
    ({}, "there is no picture"),
    ({"a.txt": b"x"}, "no picture among these files: a.txt"),
])
def test_hostile_zips_are_one_sentence(files, tmp_path, nothing_left, content, said):
    path = tmp_path / "trip.zip"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    with pytest.raises(Exception, match=said) as caught:
        files(path)
    assert "\n" not in str(caught.value)


# --- the door -----------------------------------------------------------------------------------------------


def test_the_api_describes_itself(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    for name, parameters in (
        ("/translate_video", ["video", "direction", "run", "epoch", "size", "smoothing"]),
        ("/translate_files", ["files", "direction", "run", "epoch", "size"]),
    ):
        described = endpoints[name]
        assert [p["parameter_name"] for p in described["parameters"]] == parameters
        assert [p["parameter_has_default"] for p in described["parameters"]] == [False] + [True] * len(parameters[1:])
        assert len(described["returns"]) == 2 and "direction:" in described["description"]


def post(app, name, data, session="stranger"):
    """A job begun as any program may, and the stream of what becomes of it."""
    asked = fetch(f"{app.url}gradio_api/call/{name}", {"data": data, "session_hash": session})
    event = json.loads(asked.read())["event_id"]
    return fetch(f"{app.url}gradio_api/call/{name}/{event}", timeout=WAIT_S)


@pytest.mark.parametrize("meta", [FILE, {}])
def test_files_of_the_server_are_not_opened(app, clip, tmp_path, nothing_left, meta):
    picture(23, 19).save(tmp_path / "secret.png")
    with zipfile.ZipFile(tmp_path / "secret.zip", "w") as archive:
        archive.write(tmp_path / "secret.png", "secret.png")
    for name, data in (
        ("translate_video", [{"path": str(clip), **meta}, "ab", None, None, "32", 0]),
        ("translate_files", [[{"path": str(tmp_path / "secret.zip"), **meta}], "ab", None, None, "auto"]),
        ("translate_files", [[{"path": str(tmp_path / "secret.png"), **meta}], "ab", None, None, "auto"]),
        ("previews", [{"path": str(tmp_path / "secret.zip"), **meta}]),
    ):
        try:
            with post(app, name, data) as stream:
                reply = stream.read().decode()
        except urllib.error.HTTPError as error:
            reply = error.read().decode()
        assert "error" in reply and not any(word in reply for word in ("frames,", "translated with", '"path"')), reply


@pytest.mark.parametrize("leave", ["cancel", "close"])
def test_a_visitor_who_leaves_leaves_nothing_at_work(app, client, long_clip, nothing_left, leave):
    import httpx
    from gradio_client import handle_file

    def at_work():
        return half_files(app.run.parent / "cache")

    if leave == "cancel":
        job = client.submit(handle_file(long_clip), size="384", api_name="/translate_video")
        until(at_work)
        job.cancel()
    else:
        sent = {"files": ("long.mp4", long_clip.read_bytes())}
        (path,) = httpx.post(f"{app.url}gradio_api/upload", files=sent, headers=HEADERS).json()
        stream = post(app, "translate_video", [{"path": path, **FILE}, "ab", None, None, "384", 0])
        until(at_work)
        stream.close()
    until(lambda: not at_work())


# --- what needs no running app ------------------------------------------------------------------------------


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Build the page; its functions by name, its workbench, and gradio's folder."""
    import gradio as gr

    from cyclegan.checkpoints.sources import LocalSource
    from cyclegan.ui.pages.files import build
    from cyclegan.ui.workbench import Workbench

    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(cache))
    write_epoch(tmp_path / "run", 1)
    (tmp_path / "run" / "examples").mkdir()
    picture(80, 60).save(tmp_path / "run" / "examples" / "a_1.png")

    def open_page(*, own):
        bench = Workbench([LocalSource(tmp_path / "run")], own=own)

        async def built():  # gradio would make an event loop of its own, and leave it open
            with gr.Blocks() as page:
                build(bench)
            return page

        found = {fn.name: fn.fn for fn in asyncio.run(built()).fns.values() if fn.name}
        return SimpleNamespace(bench=bench, cache=cache, **found)

    return open_page


def sent(here, path):
    """A file as gradio hands it over once it was uploaded."""
    folder = here.cache / f"upload{len(list(here.cache.iterdir()))}"
    folder.mkdir()
    return {"path": str(path.rename(folder / path.name))}


def test_a_shared_computer_takes_no_more_than_it_says(page, tmp_path):
    import gradio as gr

    here = page(own=False)
    minute = make_clip(tmp_path / "minute.mp4", [Fraction(i) for i in range(61)])
    fast = make_clip(tmp_path / "fast.mp4", [Fraction(i, 1000) for i in range(1801)], size=(16, 16))
    for path in (minute, fast):
        with pytest.raises(gr.Error, match=f"{path.name} is longer than 60 s or 1,800 frames.*python -m cyclegan"):
            list(here.translate_video(sent(here, path), size="32"))
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for index in range(201):
            archive.writestr(f"{index}.png", b"x")
    with pytest.raises(gr.Error, match="201 pictures are more than the 200 .*send fewer"):
        list(here.translate_files([sent(here, tmp_path / "many.zip")]))
    assert not [path for path in here.cache.rglob("*") if "epoch-" in path.name]


def test_a_file_that_says_too_little_is_stopped_on_the_way(page, tmp_path, monkeypatch):
    """What a header says is believed only until the frames come."""
    import gradio as gr

    from cyclegan.ui import jobs

    here = page(own=False)
    monkeypatch.setattr(jobs, "MAX_FRAMES", 10)
    monkeypatch.setattr(jobs, "refuse_long", lambda video: None)
    path = make_clip(tmp_path / "liar.mp4", [Fraction(i, 10) for i in range(20)])
    with pytest.raises(gr.Error, match="liar.mp4 is longer than 60 s or 10 frames"):
        list(here.translate_video(sent(here, path), size="32"))
    assert not [path for path in here.cache.rglob("*") if "epoch-" in path.name]


def test_the_owner_has_no_limit_and_is_told_the_time(page, tmp_path, monkeypatch):
    from cyclegan.ui import jobs

    monkeypatch.setattr(jobs, "MAX_FRAMES", 10)
    monkeypatch.setattr(jobs, "SHOW_EVERY_S", 0)
    here = page(own=True)
    path = make_clip(tmp_path / "mine.mp4", [Fraction(i, 10) for i in range(20)])
    notes = [note for note, _ in here.translate_video(sent(here, path), size="32")]
    assert "Frame 0 of 20<" in " ".join(notes) and notes[-1].startswith("20 frames")
    assert sum("Frame" in note and "s left" in note and '<progress value="' in note for note in notes) == 20


def test_time_left():
    from cyclegan.ui.jobs import frames_said, progress, time_left
    from cyclegan.ui.words import Speaker, speaker

    say = speaker()
    assert [time_left(s, say) for s in (0.2, 89, 91, 3600, 7200)] == [
        "about 1 s left", "about 89 s left", "about 2 min left", "about 60 min left", "about 2.0 h left"
    ]  # fmt: skip
    assert time_left(20, Speaker("ko")) == "약 20초 남음"
    assert "about 30 s left" in progress(10, 40, 10.0, say, frames_said)
    alone = progress(10, None, 10.0, say, frames_said)
    assert "Frame 10<" in alone and "left" not in alone and "<progress></progress>" in alone


@pytest.mark.parametrize("job", ["translate_video", "translate_files"])
def test_a_picture_waits_for_one_batch_at_most(page, tmp_path, monkeypatch, job):
    """In whatever order the threads run: what a person asks for comes before the job's next batch."""
    from cyclegan.translation.translator import TranslationResult, Translator
    from cyclegan.ui import jobs

    monkeypatch.setattr(jobs, "SHOW_EVERY_S", 0)
    here = page(own=True)
    computed, turn = [], threading.Semaphore(0)

    class Slow(Translator):
        def translate_many(self, images, direction, *, reconstruct=False, size=None, **options):
            computed.append(("person" if reconstruct else "job", len(images)))
            assert turn.acquire(timeout=WAIT_S)
            return [TranslationResult(direction, image, image, 0.0) for image in images]

    translator = Slow(here.bench.run(None).load(1), "cpu")
    monkeypatch.setattr(here.bench, "translator", lambda run, epoch: translator)
    if job == "translate_video":
        given = sent(here, make_clip(tmp_path / "a.mp4", REGULAR))
    else:
        given = []
        for index in range(6):
            picture(40, 32, index).save(tmp_path / f"{index}.png")
            given.append(sent(here, tmp_path / f"{index}.png"))
    notes = []
    worker = threading.Thread(target=lambda: notes.extend(getattr(here, job)(given, size="32")))
    worker.start()
    people = []
    for asked in range(3):
        until(lambda asked=asked: len(computed) == 2 * asked + 1)  # The job's batch is being computed.
        people.append(here.bench.engine.submit(translator, [picture(40, 32)], "ab", reconstruct=True))
        for _ in range(2):
            turn.release()
    until(lambda: len(computed) == 7)
    for _ in range(6):
        turn.release()
    worker.join(WAIT_S)
    assert not worker.is_alive() and notes[-1][1]
    assert [who for who, _ in computed] == ["job", "person"] * 3 + ["job"] * 3
    assert all(count == 1 for _, count in computed) and all(len(one.result(1)) == 1 for one in people)


def test_closed_jobs_stop_and_leave_nothing(page, tmp_path, monkeypatch):
    from cyclegan.ui import jobs

    monkeypatch.setattr(jobs, "SHOW_EVERY_S", 0)
    here = page(own=True)
    path = sent(here, make_clip(tmp_path / "a.mp4"))
    job = here.translate_video(path, size="32")
    until(lambda: "Frame 3" in next(job)[0])
    assert list(here.cache.rglob("*.part"))
    job.close()
    assert not [path for path in here.cache.rglob("*") if "epoch-" in path.name]


def test_the_example_glides_over_a_picture(page):
    from cyclegan.images import open_image
    from cyclegan.translation.video_io import Video

    here = page(own=True)
    (name,) = here.bench.runs
    video = Video(here.example_video(name, None))
    frames = [np.asarray(frame.image, int) for frame in video.frames()]
    assert video.name == "pan_over_a_1.mp4" and len(frames) == 24 and video.info.duration == pytest.approx(2)
    assert frames[0].shape == (46, 60, 3) or frames[0].shape == (44, 60, 3)
    whole = np.asarray(open_image(here.bench.run(None).examples()[0]), int)
    assert np.abs(frames[0] - frames[-1]).mean() > 20 and whole.shape == (60, 80, 3)
    assert [open_image(path).size for path in here.example_files(name, None)] == [(80, 60)]


def test_a_run_without_examples_says_so(page, tmp_path):
    import gradio as gr

    from cyclegan.ui.feedback import shows_errors

    here = page(own=True)
    (tmp_path / "run" / "examples" / "a_1.png").unlink()
    with pytest.raises(gr.Error, match="no example pictures"):
        shows_errors(here.example_video)("run", None)
