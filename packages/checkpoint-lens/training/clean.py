"""Keeps English prose: normal characters, paragraphs with function words, headings that lead to one."""

import re
import unicodedata
from collections.abc import Iterable

from readers import Block

_PLAIN = str.maketrans(
    {"‘": "'", "’": "'", "‚": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": " - ",
     "‐": "-",
     "‑": "-", "…": "...", "¶": "", "§": "", "\u00a0": " ", "\u200b": "", "\ufeff": "", "\u00ad": "",
     "•": "", "→": "->"}
)  # fmt: skip
_FUNCTION_WORDS = {
    "the", "a", "an", "of", "to", "in", "and", "is", "are", "was", "for", "that", "this", "with",
    "as", "be", "by", "on", "or", "not", "it", "if", "from", "which", "have", "has", "can", "will",
    "you", "his", "her", "he", "she", "they", "we", "i", "when", "at", "but",
}  # fmt: skip


def normalise(text: str) -> str:
    """NFC, straight quotes, plain dashes, single spaces."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text).translate(_PLAIN)).strip()


def is_prose(text: str) -> bool:
    """True for a sentence of English: function words, mostly letters, hardly a character outside of ASCII."""
    words = re.findall(r"[a-z]+", text.lower())
    if len(words) < 4 or sum(char.isalpha() or char == " " for char in text) < 0.75 * len(text):
        return False
    if sum(char > "\x7f" for char in text) > 0.05 * len(text):
        return False
    return sum(word in _FUNCTION_WORDS for word in words) >= max(1, len(words) // 12)


def clean(blocks: Iterable[Block], seen: set[int] | None = None, *, least: int = 400) -> str:
    """Paragraphs of a document joined by empty lines; "" if fewer than `least` characters remain.

    `seen` holds hashes of the paragraphs of earlier documents: one met again
    (a licence, the frame of a page) is left out.
    """
    kept: list[str] = []
    pending = ""
    for block in blocks:
        text = normalise(block.text)
        if block.heading:
            pending = text if len(text) <= 100 else ""
        elif is_prose(text):
            key = hash(text)
            if seen is not None and len(text) > 30:
                if key in seen:
                    continue
                seen.add(key)
            kept += [pending, text] if pending else [text]
            pending = ""
    joined = "\n\n".join(kept)
    return joined if len(joined) >= least else ""
