"""The documentation runs: each Python block is a program that prints what the page says, each relative link leads somewhere, and
each test that a page names is there.

A block fenced as ```python runs as a script of its own, `python -X dev -W error`, in an empty directory. A block fenced as ```output
that follows it directly is what it prints. ```python no-run: REASON is not run. Knows Markdown's fences and links, no more.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pytest

import eventsock
from eventsock import basic, embed
from programs import ROOT, complaints

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=indent)(?P=fence) *$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\((?P<target>[^()\s]+)(?:\s+\"[^\"]*\")?\)|^\[[^\]]+\]:\s*(?P<defined>\S+)", re.MULTILINE)
_TEST = re.compile(r"`((?:tests/)?[\w/]*\btest_\w+(?:\.py)?)`")
_HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One Python block of a page: where it stands, its code, and what the page says it prints (None: nothing is said)."""

    page: Path
    line: int
    info: str
    code: str
    output: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _blocks(page: Path, text: str) -> Iterator[Block]:
    fences = list(_FENCE.finditer(text))
    for fence, follower in zip_longest(fences, fences[1:]):
        info = fence["info"].strip()
        if info.split(maxsplit=1)[:1] == ["python"]:
            adjoins = follower and follower["info"].strip() == "output" and not text[fence.end() : follower.start()].strip()
            output = _dedented(follower) if follower and adjoins else None
            yield Block(page, text.count("\n", 0, fence.start()) + 1, info, _dedented(fence), output)


def _dedented(fence: re.Match[str]) -> str:
    return re.sub(f"^{fence['indent']}", "", fence["text"], flags=re.MULTILINE)


def _links(text: str) -> list[str]:
    """The targets of the links of a page, but for those in its code."""
    prose = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text))
    return [match["target"] or match["defined"] for match in _LINK.finditer(prose)]


def _named_tests(text: str) -> list[str]:
    """The tests that a page names, and the files of tests."""
    return _TEST.findall(_FENCE.sub("", text))


def _anchors(text: str) -> set[str]:
    """The names that a renderer gives the headings of a page."""
    headings = _HEADING.findall(_FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


_ALL = [block for page in _pages() for block in _blocks(page, page.read_text())]
_NOT_RUN = [block for block in _ALL if block.info != "python"]


@pytest.mark.parametrize("block", [block for block in _ALL if block.info == "python"], ids=str)
def test_block_prints_what_the_page_says(block: Block, tmp_path: Path) -> None:
    program = tmp_path / f"{block.page.stem}_{block.line}.py"
    program.write_text(block.code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-X", "dev", "-W", "error", program.name]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, complaints(done.stderr)) == (0, ""), done.stdout + done.stderr
    if block.output is not None:
        assert done.stdout == block.output


def test_blocks_that_are_not_run_give_their_reason() -> None:
    assert [str(block) for block in _NOT_RUN if not re.fullmatch(r"python no-run: \S.*", block.info)] == []
    # Each is a promise that nobody checks: the number grows only here, where it is seen.
    assert len(_NOT_RUN) == 0


@pytest.mark.parametrize("page", _pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    broken = []
    for link in _links(page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if re.match(r"[a-z]+:", link):
            continue
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target.read_text())):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", _pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_tests_that_a_page_names_are_there(page: Path) -> None:
    files = list((ROOT / "tests").rglob("*.py"))
    tests = {name for file in files for name in re.findall(r"^ *(?:async )?def (test_\w+)\(", file.read_text(), re.MULTILINE)}
    paths = {name for file in files for name in (file.name, str(file.relative_to(ROOT)))}
    assert [name for name in _named_tests(page.read_text()) if name not in tests | paths] == []


def test_readme_shows_three_programs_of_at_most_fifteen_lines() -> None:
    blocks = [block for block in _ALL if block.page.name == "README.md"]
    assert len(blocks) == 3
    assert all(block.output is not None and len(block.code.splitlines()) <= 15 for block in blocks)


def test_readme_has_its_two_commands() -> None:
    shells = [fence["text"] for fence in _FENCE.finditer((ROOT / "README.md").read_text()) if fence["info"] == "sh"]
    commands = "".join(shells).splitlines()
    assert len(commands) == 2
    assert commands[0] == "python3 -m eventsock echo"
    # .ci/run takes the second one from the page by its first words.
    assert re.fullmatch(r"python3 -m venv (\S+) && \1/bin/pip install .*'\.\[test\]' && \1/bin/pytest.*", commands[1])


def test_readme_names_every_public_page() -> None:
    linked = {(ROOT / link).resolve() for link in _links((ROOT / "README.md").read_text()) if link.startswith("docs/")}
    assert {ROOT / "docs" / page for page in ("tutorial/index.md", "reference/index.md", "design.md", "pitfalls.md")} <= linked


def test_menu_has_every_page_once() -> None:
    named = re.findall(r"^ *- (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md"))


def test_reference_names_everything() -> None:
    pages = "".join(page.read_text() for page in _pages() if page.parent.name == "reference")
    shown = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`\n]+`", pages))))
    constants = {name for name in basic.__all__ if name in vars(socket)}
    assert {*eventsock.__all__, *basic.__all__, *embed.__all__} - constants - shown == set()


# The reader of pages is read: what it takes for a block, an output, a link.

_PAGE = """
# A title: and `more`
```python
print(1)
```
```output
1
```
~~~python no-run: needs a window
~~~
1. In a list

   ```python
   if True:
       print(2)
   ```
   ```text
   2
   ```
```pythonic
```
```python
[not](a-link.md)
```

text

```output
not adjoining
```
[a link](design.md#a) ![picture](there.png "title") `[code](gone.md)` <https://elsewhere.example> [b]
[b]: other.md
"""


def test_blocks_of_a_page() -> None:
    found = [(block.line, block.info, block.code, block.output) for block in _blocks(Path("page.md"), _PAGE)]
    assert found == [
        (3, "python", "print(1)\n", "1\n"),
        (9, "python no-run: needs a window", "", None),
        (13, "python", "if True:\n    print(2)\n", None),
        (22, "python", "[not](a-link.md)\n", None),
    ]


def test_tests_named_on_a_page() -> None:
    text = "| `test_one` `tests/loop/test_two.py` | as `test_3.py`, not test_four, `in_test_five`, `test` |\n```text\n`test_six`\n```\n"
    assert _named_tests(text) == ["test_one", "tests/loop/test_two.py", "test_3.py"]


def test_links_and_anchors_of_a_page() -> None:
    assert _links(_PAGE) == ["design.md#a", "there.png", "other.md"]
    assert _anchors(_PAGE) == {"a-title-and-more"}
