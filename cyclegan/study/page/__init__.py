"""The participants' page: HTML, style and ES modules, with the words of each language from the catalogues.

    GET static/VERSION/main.js          a module; it imports its neighbours, so VERSION is one hash over all files
    GET static/VERSION/words.ko.json    the page's sentences in a language, by English template
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import html
import json
import string
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from cyclegan.errors import message
from cyclegan.locale import LANGUAGES, catalogue, in_language, in_script

FOLDER = Path(__file__).parent
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".json": "application/json"}


@functools.cache
def files() -> dict[str, bytes]:
    """Return the files that the page loads, by name."""
    found = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in (".css", ".js")}
    needed = templates()
    for language in LANGUAGES[1:]:
        known = catalogue(language)
        words = {template: known[template] for template in needed if template in known}
        found[f"words.{language}.json"] = json.dumps(words, ensure_ascii=False, separators=(",", ":")).encode()
    return found


def templates() -> list[str]:
    """Return the English sentences of the page, counted ones by their singular, as `catalogue` has them."""
    found = [said for path in sorted(FOLDER.glob("*.js")) for said in in_script(path.read_text(encoding="utf-8"))]
    return list(dict.fromkeys(said if isinstance(said, str) else said[0] for said in found))


@functools.cache
def version() -> str:
    """Return a hash over all files, because a module's address decides the addresses of those that it imports."""
    content = hashlib.sha256()
    for name, data in files().items():
        content.update(f"{name} {len(data)}\n".encode() + data)
    return content.hexdigest()[:16]


def page(title: str) -> HTMLResponse:
    """Return the page of a study with this title.

    The page names all modules, so that a browser loads them at once and not import by import.
    """
    static = f"static/{version()}"
    modules = [name for name in files() if name.endswith(".js") and name != "main.js"]
    content = string.Template((FOLDER / "player.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(title), static=static, languages=" ".join(LANGUAGES), noscript=_noscript(),
        preloads="\n".join(f'<link rel="modulepreload" href="{static}/{name}">' for name in modules),
    )  # fmt: skip
    return HTMLResponse(content, headers={"cache-control": "no-cache"})


def _noscript() -> str:
    """Return the text for browsers without JavaScript, in every language because none can be chosen."""
    heading = message("JavaScript is off")
    reason = message(
        "This study shows pictures for a short, measured time. It needs JavaScript: please turn it on and reload "
        "the page."
    )
    return "\n".join(
        f'    <h1 lang="{language}">{html.escape(in_language(heading, language))}</h1>\n'
        f'    <p lang="{language}">{html.escape(in_language(reason, language))}</p>'
        for language in LANGUAGES
    )


async def file(request: Request) -> Response:
    """Return a file of the page: cached for a year under this version, and not at all under another.

    Raises:
        HTTPException: 404, there is no such file.
    """
    name = request.path_params["file"]
    if name not in files():
        raise HTTPException(404)
    current = request.path_params["version"] == version()
    headers = {
        "cache-control": "public, max-age=31536000, immutable" if current else "no-cache",
        "vary": "Accept-Encoding",
    }
    content = files()[name]
    if "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["content-encoding"] = _compressed(name), "gzip"
    return Response(content, media_type=MEDIA_TYPES[Path(name).suffix], headers=headers)


@functools.cache
def _compressed(name: str) -> bytes:
    return gzip.compress(files()[name], mtime=0)
