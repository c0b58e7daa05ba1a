"""What a careless or hostile visitor may upload, through the running app: each gets the right result or one sentence,
and the server stays as it was."""

import io
import re
import struct
import zipfile
import zlib

import numpy as np
import psutil
import pytest
from PIL import Image, ImageCms

from tests.translation.test_video_io import make_clip
from tests.ui.conftest import half_files, paths_in, picture

pytestmark = pytest.mark.xdist_group("app")
MAX_GROWTH = 400 * 2**20
"""Of the server's memory, over all of them: a single one of the bombs would take more."""


def saved(name, image, **options):
    def write(folder):
        image().save(folder / name, **options)
        return folder / name

    return write


def content(name, data):
    def write(folder):
        (folder / name).write_bytes(data() if callable(data) else data)
        return folder / name

    return write


def png(width, height, rows=b""):
    """A PNG of 8-bit grey whose header says this size, whatever follows."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def bomb_of_pixels():
    """30,000 × 30,000 pixels in a few hundred kilobytes."""
    return png(30_000, 30_000, bytes(30_001) * 10_000)


def archive(name, members, *, encrypted=False, cut=None):
    """A zip of (name, bytes); with the flag of encryption set, or only its first part."""

    def write(folder):
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as file:
            for member, data in members():
                file.writestr(member, data)
        data = bytearray((folder / name).read_bytes())
        if encrypted:
            for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
                at = data.find(mark)
                while at >= 0:
                    data[at + offset] |= 1
                    at = data.find(mark, at + 1)
        (folder / name).write_bytes(data[:cut] if cut else data)
        return folder / name

    return write


def encoded(image=None, format="PNG"):
    buffer = io.BytesIO()
    (image or picture(24, 16)).save(buffer, format)
    return buffer.getvalue()


def clip(name, **options):
    return lambda folder: make_clip(folder / name, **options)


def sixteen_bits():
    return Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100)


SCRIPT = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


def unframed(folder):
    """A video whose stream is declared and holds no frame."""
    return make_clip(folder / "unframed.mkv", times=[])


def half(folder):
    path = make_clip(folder / "half.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def rotated(folder):
    exif = Image.Exif()
    exif[274] = 6
    picture(60, 40).save(folder / "rotated.jpg", exif=exif)
    return folder / "rotated.jpg"


def icc(folder):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    picture(20, 20).save(folder / "icc.jpg", icc_profile=profile.tobytes())
    return folder / "icc.jpg"


def frames_of(count):
    return [picture(20, 16, seed) for seed in range(count)]


PICTURES = {
    # What is sent, and the size of what comes back, or a part of the sentence that says why not.
    "truncated": (content("a.png", lambda: encoded(picture(80, 80))[:900]), "truncated"),
    "zero bytes": (content("a.png", b""), "empty"),
    "text named .png": (content("a.png", b"hello"), "not a picture"),
    "decompression bomb": (content("a.png", bomb_of_pixels), "pixels"),
    "a side of 20,001 pixels": (content("a.png", lambda: png(20_001, 4, bytes(20_002) * 4)), "20,?000"),
    "1×1": (saved("a.png", lambda: picture(1, 1)), (1, 1)),
    "3×2000": (saved("a.png", lambda: picture(3, 2000)), (3, 2000)),
    "16 bits": (saved("a.png", sixteen_bits), (30, 20)),
    "CMYK": (saved("a.jpg", lambda: picture(30, 20).convert("CMYK")), (30, 20)),
    "animated": (
        saved("a.gif", lambda: frames_of(1)[0], save_all=True, append_images=frames_of(5), duration=50), (20, 16)
    ),
    "EXIF-rotated": (rotated, (40, 60)),
    "alpha": (saved("a.png", lambda: picture(30, 20).convert("RGBA")), (30, 20)),
    "palette": (saved("a.png", lambda: picture(30, 20).convert("P")), (30, 20)),
    "1 bit": (saved("a.png", lambda: picture(30, 20).convert("1")), (30, 20)),
    "a colour profile of another space": (icc, (20, 20)),
    "SVG with a script": (content("a.svg", SCRIPT), "SVG"),
    "SVG named .png": (content("a.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "SVG"),
    "HEIC": (content("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)), "HEI"),
    "a video as a picture": (clip("a.mp4"), "video"),
    "a name with markup": (content("<img src=x onerror=alert(1)>.png", b"hello"), "not a picture"),
    "100 MB": (content("a.png", lambda: bytes(100 * 2**20)), "not a picture"),
}  # fmt: skip

FILES = {
    "a zip bomb": (archive("a.zip", lambda: [("a.png", bytes(600 * 2**20))]), "too|MB|large"),
    "a zip of a pixel bomb": (archive("a.zip", lambda: [("a.png", bomb_of_pixels()), ("b.png", encoded())]), ["b.png"]),
    "names that climb out": (
        archive("a.zip", lambda: [(name, encoded()) for name in ("../../a.png", "/etc/b.png", "c:\\d\\e.png")]),
        ["a.png", "etc/b.png", "d/e.png"],
    ),
    "an encrypted zip": (archive("a.zip", lambda: [("a.png", encoded())], encrypted=True), "(?i)encrypted|password"),
    "a cut zip": (archive("a.zip", lambda: [("a.png", encoded())], cut=60), "(?i)damaged|zip"),
    "a zip without pictures": (archive("a.zip", lambda: [("a.txt", b"hello")]), "(?i)no picture"),
}

VIDEOS = {
    "no video stream": (clip("a.mp4", sound="aac", picture=False), "(?i)no (video|picture)|sound"),
    "0 frames": (unframed, "(?i)frame|video"),
    "an odd size": (clip("a.mp4", size=(63, 47), codec="libx264", pix="yuv444p"), (64, 48)),
    "truncated video": (half, "(?i)damaged|truncated|read"),
    "text named .mp4": (content("a.mp4", b"hello"), "(?i)not a video|can't be read|no video"),
}


@pytest.fixture(scope="module", autouse=True)
def as_before(app, client, tmp_path_factory):
    """The server's memory and its temporary folder are the same afterwards."""
    path = tmp_path_factory.mktemp("first") / "first.png"
    picture(40, 40).save(path)
    send(client, path, "/translate")  # Loads the networks.
    server = psutil.Process(app.pid)
    before, files = server.memory_info().rss, sorted(paths_in(app.temp))
    yield
    assert server.memory_info().rss - before < MAX_GROWTH
    assert sorted(paths_in(app.temp)) == files
    assert half_files(app.temp.parent / "cache") == []


def send(client, path, api_name, **parameters):
    from gradio_client import handle_file

    sent = [handle_file(path)] if api_name == "/translate_files" else handle_file(path)
    return client.predict(sent, **parameters, api_name=api_name)


def assert_one_sentence(error, said):
    text = str(error)
    assert re.search(said, text), text
    assert "Traceback" not in text and "\n" not in text.strip() and "<img" not in text and 'File "' not in text


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures(client, tmp_path, kind):
    write, wanted = PICTURES[kind]
    path = write(tmp_path)
    if isinstance(wanted, str):
        with pytest.raises(Exception) as caught:  # noqa: PT011  # its sentence is looked at
            send(client, path, "/translate", size="training")
        assert_one_sentence(caught.value, wanted)
        return
    note, *shown = send(client, path, "/translate", size="training")
    assert note.startswith("Epoch")
    for place in (0, 1, 2, 3, 5, 6, 7, 8):
        with Image.open(shown[place]) as result:
            assert result.size == wanted and result.format == "PNG"


@pytest.mark.parametrize("kind", FILES)
def test_files(client, tmp_path, kind):
    write, wanted = FILES[kind]
    path = write(tmp_path)
    if isinstance(wanted, str):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            send(client, path, "/translate_files")
        assert_one_sentence(caught.value, wanted)
        return
    _, result = send(client, path, "/translate_files")
    with zipfile.ZipFile(result) as file:
        assert sorted(name for name in file.namelist() if name.endswith(".png")) == sorted(wanted)
        assert not any(name.startswith("/") or ".." in name or "\\" in name for name in file.namelist())


@pytest.mark.parametrize("kind", VIDEOS)
def test_videos(client, tmp_path, kind):
    import av

    write, wanted = VIDEOS[kind]
    path = write(tmp_path)
    if isinstance(wanted, str):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            send(client, path, "/translate_video", size="original")
        assert_one_sentence(caught.value, wanted)
        return
    _, result = send(client, path, "/translate_video", size="original")
    with av.open(result["video"] if isinstance(result, dict) else result) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == wanted
