"""The page "How it works in 60 lines" keeps to its lines, and each file that it names is there.

Knows that page only; that its programs print what it says is proved for all pages in `test_docs`.
"""

from __future__ import annotations

import re

from programs import ROOT

_PAGE = (ROOT / "docs" / "how-it-works.md").read_text()


def test_the_toy_has_at_most_sixty_lines() -> None:
    toy = _PAGE.split("```python\n", 1)[1].split("```", 1)[0]
    assert "eventsock" not in toy
    assert len(toy.splitlines()) <= 60


def test_the_files_it_names_are_there() -> None:
    named = set(re.findall(r"`([a-z_]+/[a-z_]+\.py)`", _PAGE))
    assert len(named) >= 20
    assert [name for name in sorted(named) if not (ROOT / "eventsock" / name).is_file()] == []
