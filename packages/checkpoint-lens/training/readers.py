# ruff: noqa: S603 - it runs the program of a package that fetch.py unpacked
"""Turns the files of each package into documents: lists of blocks, each a paragraph or a heading."""

import gzip
import re
import struct
import subprocess
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    """A run of text between two breaks; a heading is kept only when a paragraph follows it."""

    text: str
    heading: bool = False


BREAKS = {"p", "div", "li", "ul", "ol", "dl", "dd", "td", "th", "tr", "table", "section", "article", "main",
          "blockquote", "body", "hr", "details", "summary", "figure", "figcaption", "center"}  # fmt: skip
HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6", "dt"}
DROPPED = {"script", "style", "nav", "head", "footer", "form", "svg", "noscript", "select", "button", "pre"}
VOID = {"br", "hr", "img", "input", "meta", "link", "col", "area", "base", "wbr", "source", "embed"}
CHROME = {
    "anchor", "api_metadata", "bottomlang", "code-header", "column2", "contents", "fancy_toc",
    "footer", "footnav", "ft", "gtoc", "hd", "headerlink", "innertube", "leftnav", "mark", "menu",
    "navfooter", "navheader", "nosearch", "out-of-band", "path", "permalink", "picker", "quickview",
    "related", "searchbox", "sidebar", "since", "sphinxsidebar", "src", "srclink", "toc", "tooltip",
    "toplang",
}  # fmt: skip
ROLES = {"navigation", "search", "contentinfo", "note"}


class _Blocks(HTMLParser):
    """Collects text outside of DROPPED elements and of the site's frame (by class, id or role)."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self._text: list[str] = []
        self._heading = False
        self._skipped = ""  # the element that is being skipped, and how many of its name are open within it
        self._depth = 0

    def flush(self, heading: bool = False) -> None:
        text = " ".join("".join(self._text).split())
        if text:
            self.blocks.append(Block(text, self._heading))
        self._text, self._heading = [], heading

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._skipped:
            self._depth += tag == self._skipped
            return
        named = {
            word for key, value in attrs if key in {"class", "id"} for word in (value or "").lower().split()
        }
        roles = {value for key, value in attrs if key == "role"} - (
            {"note"} if "admonition" in named else set()
        )
        if (
            tag not in VOID
            and tag not in {"body", "html"}
            and (tag in DROPPED or named & CHROME or roles & ROLES)
        ):
            self._skipped, self._depth = tag, 1
            self.flush()
        elif tag in BREAKS or tag in HEADINGS:
            self.flush(heading=tag in HEADINGS)
        elif tag == "br":
            self._text.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if self._skipped:
            self._depth -= tag == self._skipped
            if not self._depth:
                self._skipped = ""
        elif tag in BREAKS or tag in HEADINGS:
            self.flush()

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            self._text.append(data)


def html_blocks(html: str) -> list[Block]:
    """Paragraphs and headings of a page, without code listings, navigation and the site's frame."""
    parser = _Blocks()
    parser.feed(html)
    parser.close()
    parser.flush()
    return parser.blocks


_ENTITIES = {"lt": "<", "gt": ">", "verbar": "|", "sol": "/"}


def pod_blocks(pod: str) -> list[Block]:
    """Paragraphs and headings of Perl's POD; verbatim paragraphs and =for/=begin blocks are left out."""
    blocks = []
    for chunk in re.split(r"\n\s*\n", pod.split("\n__END__")[0]):
        head = re.match(r"=(head\d|item)\s+(.*)", chunk, re.DOTALL)
        text = head[2] if head else chunk
        if (chunk.startswith("=") and not head) or chunk[:1] in {" ", "\t", ""}:
            continue
        text = re.sub(r"E<(\w+)>", lambda match: _ENTITIES.get(match[1], ""), text)
        text = re.sub(r"L<(?:([^|<>]*)\|)?([^<>]*)>", lambda match: match[1] or match[2], text)
        text = re.sub(r"[A-Z](<<+) (.*?) >>+", r"\2", text, flags=re.DOTALL)
        while (flat := re.sub(r"\b[BCFISXZ]<([^<>]*)>", r"\1", text)) != text:
            text = flat
        blocks.append(Block(" ".join(text.split()), bool(head)))
    return blocks


def broken(text: str, length: int = 800) -> Iterator[str]:
    """Pieces of at least `length` characters that end with a sentence: some speeches are one line."""
    start = 0
    for end in (match.end() for match in re.finditer(r"[.!?][\"']? ", text)):
        if end - start >= length:
            yield text[start:end].strip()
            start = end
    yield text[start:].strip()


def _wrapped(text: str) -> list[Block]:
    """Paragraphs of plain text between empty lines; line ends become spaces, a very long one is broken."""
    parts = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
    return [Block(piece) for part in parts for piece in (broken(part) if len(part) > 2000 else [part])]


def jargon_documents(path: Path, group: int = 40) -> Iterator[tuple[str, list[Block]]]:
    """Entries of the Jargon File, `group` neighbours to a document; links lose their braces."""
    text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace").replace("{", "").replace("}", "")
    entries = re.split(r"\n(?=\S[^\n]*\n \S)", text)[1:]
    for start in range(0, len(entries), group):
        blocks = [block for entry in entries[start : start + group] for block in _wrapped(entry)]
        yield f"entries-{start:05d}", blocks


def r_strings(data: bytes) -> Iterator[list[str]]:
    """Character vectors of an R lazy-load file: length, zlib stream, and within it R's XDR serialization."""
    position = 0
    while position < len(data):
        stream = zlib.decompressobj()
        raw = stream.decompress(data[position + 4 :])
        position = len(data) - len(stream.unused_data)
        (native,) = struct.unpack_from(">i", raw, 14)
        offset = 18 + native
        kind, count = struct.unpack_from(">ii", raw, offset)
        if raw[:2] != b"X\n" or kind & 0xFF != 16:
            raise ValueError("expected a serialized character vector")
        offset += 8
        lines = []
        for _ in range(count):
            _, length = struct.unpack_from(">ii", raw, offset)
            lines.append(raw[offset + 8 : offset + 8 + length].decode("utf-8", "replace"))
            offset += 8 + length
        yield lines


def austen_documents(path: Path) -> Iterator[tuple[str, list[Block]]]:
    """Chapters of Jane Austen's six novels."""
    for lines in r_strings(path.read_bytes()):
        title = lines[0].title().replace(" ", "-")
        for number, chapter in enumerate(re.split(r"\n(?=chapter\b)", "\n".join(lines), flags=re.IGNORECASE)):
            if number:
                yield f"{title}/{number:02d}", _wrapped(chapter)


def bible_documents(path: Path, program: Path) -> Iterator[tuple[str, list[Block]]]:
    """Chapters of the King James Version, verse numbers removed, unpacked by the program `bible`."""
    # The program forgets the last letter of its search path: a slash must stand there.
    command = [program, "-p", f"{path.parent}/", "Ge1:1-Re22:21"]
    text = subprocess.run(
        command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
    ).stdout
    parts = re.split(r"^(\S[^\n]*? \d+)\n\n", text, flags=re.MULTILINE)
    for name, chapter in zip(parts[1::2], parts[2::2], strict=True):
        verses = re.split(r"^ *\d+ ", chapter, flags=re.MULTILINE)
        yield name.replace(" ", "-"), [Block(piece) for piece in broken(" ".join(" ".join(verses).split()))]


def file_blocks(path: Path, reader: str) -> list[Block]:
    """Blocks of one file that is one document."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return {"html": html_blocks, "pod": pod_blocks, "plain": _wrapped}[reader](text)
