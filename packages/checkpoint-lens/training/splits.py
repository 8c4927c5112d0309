"""Splits documents by a seeded hash and keeps what is judged apart from what is learned."""

import hashlib
import re
from collections.abc import Iterable


def unit(seed: int, name: str) -> float:
    """A number in [0, 1) that depends on seed and document's name alone: a new document moves no other."""
    digest = hashlib.sha256(f"{seed}|{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def shingles(text: str, n: int) -> set[int]:
    """Hashes of all runs of `n` words, lower case, punctuation ignored."""
    words = re.findall(r"\w+", text.lower())
    return {hash(tuple(words[i : i + n])) for i in range(len(words) - n + 1)}


def containment(text: str, others: set[int], n: int) -> float:
    """Share of the text's n-word shingles that occur in `others`; 0 for a text shorter than n words."""
    own = shingles(text, n)
    return len(own & others) / len(own) if own else 0.0


def without_shared(text: str, others: set[int], n: int) -> str:
    """The text without each paragraph that shares a run of `n` words with `others`."""
    return "\n\n".join(part for part in text.split("\n\n") if not shingles(part, n) & others)


def union(texts: Iterable[str], n: int) -> set[int]:
    """All shingles of several texts."""
    return set().union(*(shingles(text, n) for text in texts))


def excerpt(text: str, limit: int) -> str:
    """The first paragraphs of a text, at most `limit` characters; a longer first one ends at a sentence."""
    kept: list[str] = []
    for part in text.split("\n\n"):
        room = limit - sum(len(piece) + 2 for piece in kept)
        if len(part) > room:
            if not kept:
                kept.append(part[: part.rfind(". ", 0, room) + 1])
            break
        kept.append(part)
    return "\n\n".join(kept)
