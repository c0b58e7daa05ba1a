"""What a stranger may take of the server's memory and disk."""

import os

from cyclegan.translate_files import _targets
from cyclegan.ui import readings


def test_a_second_path_to_an_upload_takes_no_second_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    given = tmp_path / "upload" / "in.png"
    given.parent.mkdir()
    given.write_bytes(b"x" * 1000)
    path = readings.linked(given)
    assert os.path.samefile(path, given) and path != str(given)
    assert path in readings.SERVED  # And gradio's sweep knows of it.


def test_many_files_of_one_name_are_numbered_at_once():
    names = _targets([["a.png"]] * 20_000)
    assert names[:2] == ["a.png", "a-2.png"] and len(set(names)) == 20_000
