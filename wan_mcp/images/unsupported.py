"""Files that are not supported pictures: named in the error, by their first bytes."""

from wan_mcp.errors import PictureError

SAVE_AGAIN = "Open it in an image program, save it as JPEG or PNG, and give the new picture."
_STILL = "To continue a video of a task, give that task's id; else give a picture, such as one of its frames."
_INSIDE = "Give the picture that is inside."
_PAGE = "Give the picture itself, not a page that shows it."

_SIGNATURES: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    ((b"%PDF",), "a PDF document", "Save the page as JPEG or PNG, and give the new picture."),
    ((b"%!PS",), "a PostScript document", SAVE_AGAIN),
    ((b"\x1aE\xdf\xa3",), "a WebM or Matroska video", _STILL),
    ((b"FLV\x01", b"\0\0\x01\xba"), "a video", _STILL),
    ((b"PK\x03\x04",), "an archive or an Office document", _INSIDE),
    ((b"Rar!", b"\x1f\x8b"), "an archive", _INSIDE),
    ((b"8BPS",), "a Photoshop document", SAVE_AGAIN),
    ((b"\0\0\x01\0",), "an icon file", SAVE_AGAIN),
    ((b"\xff\x0a", b"\0\0\0\x0cJXL "), "a JPEG XL picture", SAVE_AGAIN),
    ((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), "a JPEG 2000 picture", SAVE_AGAIN),
    ((b"v/1\x01",), "an OpenEXR picture", SAVE_AGAIN),
    ((b"ID3", b"OggS", b"fLaC"), "a sound or video file", "Give a picture."),
    ((b"\x7fELF",), "a program", "Give a picture."),
)
_RIFF = {b"AVI ": "an AVI video", b"WAVE": "a sound file"}
_MOVIE_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip")
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<title", b"<meta", b"<div", b"<!--")


def refuse(data: bytes) -> PictureError:
    """The error that says what ``data`` is, as far as its first bytes show that."""
    what, next_step = _named(data)
    return PictureError(f"is {what}, not a picture that can be used", next_step=next_step)


def _named(data: bytes) -> tuple[str, str]:
    for signatures, what, next_step in _SIGNATURES:
        if data.startswith(signatures):
            return what, next_step
    if data.startswith(b"RIFF") and data[8:12] in _RIFF:
        return _RIFF[data[8:12]], _STILL
    if data[4:8] == b"ftyp":
        raw = data[8:12] == b"crx "
        return ("a camera's raw file", SAVE_AGAIN) if raw else ("an MP4 or QuickTime video", _STILL)
    if data[4:8] in _MOVIE_BOXES:
        return "a QuickTime video", _STILL
    return _text(data[:2048].removeprefix(b"\xef\xbb\xbf").lstrip().lower())


def _text(start: bytes) -> tuple[str, str]:
    if start.startswith(_HTML):
        return "a web page (HTML)", _PAGE
    if start.startswith((b"<svg", b"<?xml", b"<!doctype svg")) and b"<svg" in start:
        return "an SVG drawing", "Export it as PNG, and give the new picture."
    if start.startswith(b"<"):
        return ("a web page (HTML)", _PAGE) if b"<html" in start else ("an XML document", _PAGE)
    if start.startswith((b"{", b"[")):
        return "a JSON text", _PAGE
    printable = sum(byte >= 0x20 or byte in b"\t\r\n" for byte in start)
    if start and b"\0" not in start and printable > 0.95 * len(start):
        return "a text", _PAGE
    return "a file of an unknown kind", "Give a JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF or HEIC picture."
