"""Files that the pages serve: what a stranger may take of the server's disk."""

import os

from cyclegan.ui import results


def test_a_second_path_to_an_upload_takes_no_second_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    given = tmp_path / "upload" / "in.png"
    given.parent.mkdir()
    given.write_bytes(b"x" * 1000)
    path = results.linked(given)
    assert os.path.samefile(path, given) and path != str(given)
    assert path in results.SERVED  # And gradio's sweep knows of it.
