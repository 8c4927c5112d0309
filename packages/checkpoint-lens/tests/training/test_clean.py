"""Cleaning keeps English sentences and the headings that lead to one."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

Recipe = Callable[[str], ModuleType]
SENTENCE = "The planner reads the statistics that were gathered for each of the columns."


def test_normalise(recipe: Recipe) -> None:
    assert recipe("clean").normalise("“It’s\u00a0a\ncafe\u0301” – so…¶") == '"It\'s a café" - so...'


@pytest.mark.parametrize(
    ("text", "prose"),
    [
        (SENTENCE, True),
        ("int main(void) { return 0; } /* 0x7f 0x80 0x81 0x82 */", False),
        ("GIN GiST BRIN hash btree spgist bloom rum", False),
        ("Le chat et le chien ne sont pas encore rentrés chez eux", False),
        ("это предложение не на английском языке the", False),
        ("See also", False),
    ],
)
def test_is_prose(recipe: Recipe, text: str, prose: bool) -> None:
    assert recipe("clean").is_prose(text) is prose


def test_clean_headings_repeats_and_short_documents(recipe: Recipe) -> None:
    block, clean = recipe("readers").Block, recipe("clean").clean
    seen: set[int] = set()
    blocks = [block("Lonely", True), block("Chapter", True), block(SENTENCE), block("1 2 3")]
    assert clean(blocks, seen, least=10) == f"Chapter\n\n{SENTENCE}"
    assert clean(blocks, seen, least=0) == ""
    assert clean(blocks, None, least=400) == ""
