"""Plain text and Markdown: bytes in, decoded text out; knows no other format."""

from __future__ import annotations

import re

from openbook.ingest.readers.parsed import Parsed, clean, first_heading, iso_of, one_line, trimmed

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_GUESS_BYTES = 256 * 1024
"""More does not change the guess and costs seconds on large files."""
_WESTERN = frozenset("äöüßÄÖÜàâéèêëîïôûùçœÀÂÉÈÊËÎÏÔÛÙÇŒñáíóúÑÁÍÓÚ¿¡°§«»€£ –—…‘’“”„•\xa0\u202f")
"""Nothing but these beyond ASCII, read as cp1252: it is cp1252. charset-normalizer takes short French for Baltic."""
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n)?(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_KEY = re.compile(r"^([A-Za-z_-]+)[ \t]*:[ \t]*(.+)$", re.MULTILINE)


def decode(data: bytes) -> tuple[str, tuple[str, ...]]:
    """Text and notes: by byte order mark, as UTF-8, as UTF-16 by its NULs, else by charset-normalizer's guess.

    >>> decode("naïve".encode("utf-16"))
    ('naïve', ())
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            text = data[len(mark) :].decode(encoding, "replace")
            return text, (f"some bytes are not {encoding} and were replaced",) * ("\ufffd" in text)
    if b"\0" in data[:4096]:
        even, odd = data[0:4096:2].count(0), data[1:4096:2].count(0)
        if max(even, odd) > 0.3 * len(data[:4096]) / 2:
            encoding = "utf-16-be" if even > odd else "utf-16-le"
            return data.decode(encoding, "replace"), (f"encoding guessed: {encoding}",)
    try:
        return data.decode("utf-8"), ()
    except UnicodeDecodeError as error:
        wrong = error
    # One bad byte in a long file is damage, not another encoding.
    text = data.decode("utf-8", "replace")
    if wrong.start and text.count("\ufffd") * 1000 < len(text):
        return text, ("some bytes are not UTF-8 and were replaced",)
    encoding = _guess(data)
    return data.decode(encoding, "replace"), (f"encoding guessed: {encoding}",)


def read(data: bytes) -> Parsed:
    """Plain text: decoded, line ends and control characters tidied."""
    text, notes = decode(data)
    return Parsed(trimmed(text), notes=notes)


def read_markdown(data: bytes) -> Parsed:
    """Markdown, kept as it is but for front matter, which becomes metadata."""
    text, notes = decode(data)
    text = clean(text)
    found: dict[str, str] = {}
    if front := _FRONT_MATTER.match(text):
        keys = _FRONT_KEY.findall(front.group(1) or "")
        found = {key.lower(): value.strip().strip("\"'") for key, value in keys}
        text = text[front.end() :]
    return Parsed(
        text.strip("\n"),
        title=one_line(found.get("title", "")) or first_heading(text),
        author=one_line(found.get("author", "")),
        created=iso_of(found.get("date", "") or found.get("created", "")),
        modified=iso_of(found.get("updated", "") or found.get("modified", "") or found.get("lastmod", "")),
        notes=notes,
    )


def _guess(data: bytes) -> str:
    import charset_normalizer

    sample = data[:_GUESS_BYTES]
    marks = {char for char in sample.decode("cp1252", "replace") if char > "\x7f"}
    if marks <= _WESTERN:
        return "cp1252"
    best = charset_normalizer.from_bytes(sample).best()
    return best.encoding if best else "cp1252"
