"""The readers keep prose and leave the frame of a page behind."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from types import ModuleType

Recipe = Callable[[str], ModuleType]

PAGE = """<html><head><title>Not this</title></head><body>
<div class="related" role="navigation">Next <div>nested</div> Previous</div>
<h1>Vacuum<a class="headerlink" href="#v">¶</a></h1>
<p>The command <code>VACUUM</code> reclaims
   storage &amp; space.
<p>A second paragraph that nobody closed.
<pre>SELECT 1 FROM t;</pre>
<div role="note" class="admonition note"><p>Mind the lock.</p></div>
<ul><li>first</li><li>second</li></ul>
<div class="footer">Copyright</div></body></html>"""


def test_html_blocks(recipe: Recipe) -> None:
    blocks = recipe("readers").html_blocks(PAGE)
    assert [block.text for block in blocks] == [
        "Vacuum",
        "The command VACUUM reclaims storage & space.",
        "A second paragraph that nobody closed.",
        "Mind the lock.",
        "first",
        "second",
    ]
    assert [block.heading for block in blocks] == [True] + [False] * 5


def test_pod_blocks(recipe: Recipe) -> None:
    pod = "=head1 NAME\n\nUse B<C<print>> and L<this|that> if E<lt> 3.\n\n    verbatim();\n\n=over 4\n"
    blocks = recipe("readers").pod_blocks(pod)
    assert [tuple(block) for block in blocks] == [
        ("NAME", True),
        ("Use print and this if < 3.", False),
    ]


def test_broken_loses_nothing_and_ends_with_sentences(recipe: Recipe) -> None:
    text = " ".join(f"Sentence number {i} is here." for i in range(200))
    pieces = list(recipe("readers").broken(text, 800))
    assert " ".join(pieces) == text
    assert all(piece.endswith(".") for piece in pieces)
    assert all(800 <= len(piece) + 1 < 900 for piece in pieces[:-1])


def test_r_strings(recipe: Recipe) -> None:
    lines = ["EMMA", "", "Émile"]
    raw = b"X\n" + struct.pack(">iii", 3, 0x040201, 0x030500) + struct.pack(">i", 5) + b"UTF-8"
    raw += struct.pack(">ii", 16, len(lines))
    for line in lines:
        raw += struct.pack(">ii", 0x40009, len(line.encode())) + line.encode()
    packed = struct.pack(">i", len(raw)) + zlib.compress(raw)
    assert list(recipe("readers").r_strings(packed * 2)) == [lines, lines]
