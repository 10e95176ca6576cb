"""Bytes and a file name in, a format name out: content first, extension second. Reads no document."""

from __future__ import annotations

import io
import json
import re
from pathlib import PurePosixPath

from openbook.errors import ReadError
from openbook.ingest.readers import zipped

EXTENSIONS = {
    ".txt": "txt",
    ".text": "txt",
    ".log": "txt",
    ".md": "md",
    ".markdown": "md",
    ".mdx": "md",
    ".rst": "rst",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".docx": "docx",
    ".docm": "docx",
    ".dotx": "docx",
    ".pptx": "pptx",
    ".pptm": "pptx",
    ".ppsx": "pptx",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".xls": "xls",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".eml": "eml",
    ".msg": "msg",
    ".epub": "epub",
    ".ipynb": "ipynb",
    ".zip": "zip",
}
_TEXT = frozenset({"txt", "md", "rst", "html", "csv", "json", "jsonl", "eml", "ipynb"})
_FOREIGN = (
    (b"\x89PNG\r\n", "PNG image"),
    (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"),
    (b"BM", "BMP image"),
    (b"II*\0", "TIFF image"),
    (b"MM\0*", "TIFF image"),
    (b"RIFF", "RIFF media file"),
    (b"ID3", "MP3 audio"),
    (b"OggS", "Ogg media file"),
    (b"fLaC", "FLAC audio"),
    (b"\x1aE\xdf\xa3", "Matroska video"),
    (b"\x1f\x8b", "gzip archive"),
    (b"BZh", "bzip2 archive"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip archive"),
    (b"Rar!", "RAR archive"),
    (b"\xfd7zXZ", "xz archive"),
    (b"\x7fELF", "program"),
    (b"MZ\x90\0", "program"),
    (b"SQLite format 3\0", "SQLite database"),
    (b"PAR1", "Parquet file"),
    (b"{\\rtf", "RTF document; save it as .docx"),
    (b"GGUF", "model file"),
)
_STRAY = 4
_STRAY_SHARE = 0.02
"""Up to this share of control characters is dirt in a text; in a short one five times that, but no more than four."""
_HTML = re.compile(
    rb"(?:\s|\xef\xbb\xbf|<\?xml[^>]*>|<!--.*?-->)*<(?:!doctype\s+html|html|head|body)[\s>]", re.I | re.S
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OPEN_XML = (("word/", "docx"), ("ppt/", "pptx"), ("xl/", "xlsx"))


def detect(data: bytes, name: str) -> str:
    """The format to read these bytes as.

    Raises ReadError for an empty file, a known foreign format, an encrypted Office file or unknown binary data.

    >>> detect(b"%PDF-1.7 ...", "notes.txt")
    'pdf'
    """
    if not data.strip(b"\0 \t\r\n\xef\xbb\xbf"):
        raise ReadError("the file is empty")
    by_name = EXTENSIONS.get(PurePosixPath(name.rsplit("!/", 1)[-1]).suffix.lower())
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _in_zip(data)
    if data.lstrip().startswith(b"%PDF-") or (by_name not in _TEXT and b"%PDF-" in data[:1024]):
        return "pdf"
    if data.startswith(_OLE):
        return _in_ole(data)
    for signature, label in _FOREIGN:
        if data.startswith(signature) and (len(signature) > 2 or is_binary(data)):
            raise ReadError(f"not a supported format ({label})")
    if is_binary(data):
        if by_name and by_name not in _TEXT:
            raise ReadError(f"damaged: the content is not that of a {by_name} file")
        raise ReadError("not a supported format (unknown binary data)")
    if by_name in _TEXT and by_name != "txt":
        return "ipynb" if by_name == "json" and _is_notebook(data) else by_name
    return "html" if _HTML.match(data[:4096]) else "txt"


def is_binary(data: bytes) -> bool:
    """Whether the first bytes cannot be text in any encoding we read."""
    head = data[:8192]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return False
    # UTF-16 without a mark has a NUL in every other place.
    if max(head[0::2].count(0), head[1::2].count(0)) >= 0.3 * len(head) / 2:
        head = head.replace(b"\0", b"")
    odd = sum(head.count(bytes([code])) for code in (*range(8), *range(14, 27), 28, 29, 30, 31, 127))
    return odd > max(min(_STRAY, 5 * _STRAY_SHARE * len(head)), _STRAY_SHARE * len(head))


def _in_zip(data: bytes) -> str:
    archive = zipped.open_zip(data)
    names = set(archive.namelist())
    if "[Content_Types].xml" in names:
        for folder, kind in _OPEN_XML:
            if any(name.startswith(folder) for name in names):
                if kind == "xlsx" and "xl/workbook.bin" in names:
                    raise ReadError("not a supported format (binary Excel workbook .xlsb; save it as .xlsx)")
                return kind
        return "zip"
    if "META-INF/container.xml" in names:
        return "epub"
    if "mimetype" in names and "content.xml" in names:
        raise ReadError("not a supported format (OpenDocument; save it as .docx, .xlsx or .pptx)")
    return "zip"


def _in_ole(data: bytes) -> str:
    import olefile

    try:
        with olefile.OleFileIO(io.BytesIO(data)) as ole:
            streams = {entry[0] for entry in ole.listdir()}
    except Exception as error:  # noqa: BLE001 - olefile raises whatever damaged sectors lead to
        raise ReadError(f"damaged Office or Outlook file ({error})") from None
    if "EncryptedPackage" in streams:
        raise ReadError("encrypted; remove the password and try again")
    if streams & {"Workbook", "Book"}:
        return "xls"
    if "__properties_version1.0" in streams:
        return "msg"
    if "WordDocument" in streams:
        raise ReadError("not a supported format (Word 97-2003 .doc; save it as .docx)")
    if "PowerPoint Document" in streams:
        raise ReadError("not a supported format (PowerPoint 97-2003 .ppt; save it as .pptx)")
    raise ReadError("not a supported format (unknown OLE file)")


def _is_notebook(data: bytes) -> bool:
    if b'"nbformat"' not in data:
        return False
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and isinstance(value.get("cells"), list)
