"""Reports as files: Markdown with plots and pictures, JSON, CSV, Parquet."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cyclegan.errors import StudyError
from cyclegan.files import write_bytes
from cyclegan.study.format import Study
from cyclegan.study.report.figures import make_report
from cyclegan.study.report.judging import to_table
from cyclegan.study.report.markdown import to_markdown

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("md", "json", "csv", "parquet")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_report(
    study: Study, votes: pd.DataFrame, sessions: pd.DataFrame, format: str, output: str | Path, *,
    interim: bool = False,
) -> list[Path]:
    """Write a report; return its files, the report itself first.

    Args:
        format: md (with plots as NAME-*.svg and *.png next to it, and the pictures that fooled most and least), json,
            csv or parquet (a row per vote).
        interim: see `make_report`.

    Raises:
        StudyError: the format is unknown, or a file can't be written.
    """
    if format not in FORMATS:
        raise StudyError(
            "unknown report format {format!r}: choose {formats}", format=format, formats=", ".join(FORMATS)
        )
    if not str(output):
        raise StudyError("the report's file has no name: name one")
    output = Path(output)
    _target(output)  # Refuse an unusable name before the figures are computed.
    contents: dict[Path, bytes] = {}
    if format in ("csv", "parquet"):
        write_table(to_table(votes, study), format, output)
        return [output]
    report = make_report(study, votes, sessions, mixed=True, interim=interim)
    if format == "json":
        text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        contents[output] = text.encode()
    else:
        contents = _illustrated(study, report, output)
    targets = {path: _target(path) for path in contents}
    for path, content in reversed(contents.items()):  # Pictures before the text that links to them.
        try:
            write_bytes(targets[path], content)
        except OSError as error:
            raise _unwritable(path, error) from error
    return list(contents)


def write_table(table: pd.DataFrame, format: str, output: str | Path) -> None:
    """Write a table as csv or parquet, whole or not at all; raise StudyError if that isn't possible."""
    output = Path(output)
    target, content = _target(output), csv_of(table) if format == "csv" else _parquet(table)
    try:
        write_bytes(target, content)
    except OSError as error:
        raise _unwritable(output, error) from error


def csv_of(frame: pd.DataFrame) -> bytes:
    """Return a table as CSV in UTF-8, safe for spreadsheets.

    Text that a spreadsheet would take for a formula, because it begins with = + - @, a tab or a carriage return, gets
    an apostrophe before it (OWASP, CSV Injection). Numbers are unchanged. A carriage return within text becomes a line
    feed, because only that one is quoted; the other would begin a row.
    """
    from pandas.api.types import is_object_dtype, is_string_dtype

    def harmless(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        safe = f"'{value}" if value.startswith(_FORMULA) else value
        return safe.replace("\r\n", "\n").replace("\r", "\n")

    text = [name for name in frame if is_object_dtype(frame[name]) or is_string_dtype(frame[name])]
    safe = frame.assign(**{name: [harmless(value) for value in frame[name]] for name in text})
    return safe.rename(columns=harmless).to_csv(index=False, lineterminator="\n").encode()


def _illustrated(study: Study, report: Mapping[str, Any], output: Path) -> dict[Path, bytes]:
    """Return Markdown, its plots, and the sheet of pictures, by path."""
    from cyclegan.study.report.plots import contact_sheet, plots

    links, files = {}, {}
    for name, (svg, png) in plots(report).items():
        for suffix, content in (("svg", svg), ("png", png)):
            files[output.with_name(f"{output.stem}-{name}.{suffix}")] = content
        links[name] = f"{output.stem}-{name}.svg"
    sheet = contact_sheet(study, report)
    if sheet:
        files[output.with_name(f"{output.stem}-stimuli.png")] = sheet
        links["stimuli"] = f"{output.stem}-stimuli.png"
    links = {name: quote(os.fsencode(link)) for name, link in links.items()}
    return {output: to_markdown(report, links).encode(), **files}


def _parquet(table: pd.DataFrame) -> bytes:
    out = io.BytesIO()
    table.to_parquet(out, index=False)
    return out.getvalue()


def _target(path: Path) -> Path:
    """Return the file that a path leads to through links; raise StudyError if it exists and isn't a file."""
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    except OSError as error:
        raise _unwritable(path, error) from error
    if stat.S_ISDIR(mode):
        raise StudyError("{path} is a folder, which a report can't replace: name a file", path=path)
    if not stat.S_ISREG(mode):
        raise StudyError("{path} is a device or a pipe, which a report can't replace: name a file", path=path)
    return target


def _unwritable(path: Path, error: OSError) -> StudyError:
    return StudyError("{path} can't be written ({reason}): free space or name another", path=path, reason=error)
