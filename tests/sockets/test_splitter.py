"""The splitter: every verb, every chunking, every limit. Pure: bytes in, units out, no socket and no loop."""

from __future__ import annotations

import io
import itertools
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsock import IncompleteRead, LineTooLong
from eventsock.sockets.linebreaks import Mark, Universal
from eventsock.sockets.splitter import MORE, Splitter

CRLF = Mark(b"\r\n")
ANY = Universal(b"\n", b"\r")

Take = Callable[[Splitter], Any]


def outcome(splitter: Splitter, take: Take) -> Any:
    """What a verb gave, an error as a plain value."""
    try:
        return take(splitter)
    except (LineTooLong, IncompleteRead) as error:
        return type(error).__name__, error.partial


def drive(chunks: list[bytes], takes: list[Take], limit: int) -> list[Any]:
    """Feed as a stream does, only when nothing can be given, and end at the end."""
    splitter, waiting, units = Splitter(limit), list(chunks), []
    for take in takes:
        while (unit := outcome(splitter, take)) is MORE:
            assert splitter.want > 0
            if waiting:
                splitter.feed(waiting.pop(0))
            else:
                splitter.end()
        units.append(unit)
    return units


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]


VERBS: dict[str, Take] = {
    "line": lambda s: s.line(),
    "line by CR LF": lambda s: s.line_by(CRLF),
    "line by any": lambda s: s.line_by(ANY),
    "until |": lambda s: s.until(b"|"),
    "until -->": lambda s: s.until(b"-->"),
    "block of 3": lambda s: s.block(3),
    "block of 40": lambda s: s.block(40),
    "block of 0": lambda s: s.block(0),
}
TEXT = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r", b"\r\n", b"|", b"-", b"->", b"-->", b"\0", b"0123456789" * 3]), max_size=40)


@given(TEXT, st.lists(st.integers(0, 2000)), st.lists(st.sampled_from(sorted(VERBS)), max_size=12), st.integers(1, 12))
def test_every_chunking_gives_the_same(words: list[bytes], places: list[int], verbs: list[str], limit: int) -> None:
    data = b"".join(words)
    takes = [VERBS[verb] for verb in verbs] + [lambda s: s.everything()]
    at_once = drive([data] if data else [], takes, limit)
    assert drive(cut(data, places), takes, limit) == at_once
    assert drive([bytes([byte]) for byte in data], takes, limit) == at_once


@given(TEXT, st.lists(st.integers(0, 2000)), st.integers(1, 50))
def test_lines_are_those_of_the_standard_library(words: list[bytes], places: list[int], most: int) -> None:
    data = b"".join(words)
    chunks = cut(data, places)
    lines = io.BytesIO(data).read().split(b"\n")
    expected = lines if lines[-1] else lines[:-1]
    assert drive(chunks, [VERBS["line"]] * (len(expected) + 2), 10_000) == [*expected, None, None]
    any_break = io.TextIOWrapper(io.BytesIO(data), "latin-1", newline=None).read().split("\n")
    expected_any = [line.encode("latin-1") for line in (any_break if any_break[-1] else any_break[:-1])]
    assert drive(chunks, [VERBS["line by any"]] * (len(expected_any) + 1), 10_000) == [*expected_any, None]
    blocks = [data[i : i + most] for i in range(0, len(data), most)]
    assert drive(chunks, [lambda s: s.block(most)] * (len(blocks) + 1), 10) == [*blocks, None]


@given(TEXT, st.lists(st.integers(0, 2000)), st.lists(st.sampled_from(["some", "some 2", *sorted(VERBS)]), max_size=30), st.integers(1, 12))
def test_no_byte_is_lost(words: list[bytes], places: list[int], verbs: list[str], limit: int) -> None:
    """Whatever is taken how, what is given and what is left are all that was fed, but for the ends of lines."""
    data = b"".join(words)
    splitter, waiting, given_out = Splitter(limit), cut(data, places), b""
    takes: dict[str, Take] = {**VERBS, "some": lambda s: s.some(), "some 2": lambda s: s.some(2)}
    for verb in verbs:
        if waiting:
            splitter.feed(waiting.pop(0))
        before = splitter.held
        unit = outcome(splitter, takes[verb])
        if isinstance(unit, tuple):
            unit = unit[1]
        if isinstance(unit, bytes):
            given_out += unit
            assert splitter.held <= before
    rest = splitter.peek() + b"".join(waiting)
    assert data.endswith(rest)
    without_breaks = data[: len(data) - len(rest)].replace(b"\n", b"").replace(b"\r", b"")
    skipped = len(without_breaks) - len(given_out.replace(b"\n", b"").replace(b"\r", b""))
    assert skipped >= 0
    if not any(verb.startswith("line") for verb in verbs):
        assert given_out + rest == data


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_fault_63_and_134_at_the_limit_every_split_gives_the_same(ending: bytes, over: int) -> None:
    limit = 5
    record = b"x" * (limit + over)
    data = record + ending + b"next" + ending
    take = VERBS["line" if ending == b"\n" else "line by CR LF"]
    expected = [record if over <= 0 else ("LineTooLong", b"x" * limit), b"next", None]
    for place in range(len(data) + 1):
        for other in range(place, len(data) + 1):
            chunks = [chunk for chunk in (data[:place], data[place:other], data[other:]) if chunk]
            assert drive(chunks, [take] * 3, limit) == expected


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_fault_63_and_134_a_delimiter_split_at_the_limit(over: int) -> None:
    limit = 5
    record = b"x" * (limit + over)
    data = record + b"-->rest"
    expected = record + b"-->" if over <= 0 else ("LineTooLong", b"x" * limit)
    for place in range(len(data) + 1):
        chunks = [chunk for chunk in (data[:place], data[place:]) if chunk]
        assert drive(chunks, [VERBS["until -->"]], limit) == [expected]


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("mark", [b"\n", b"-->"])
def test_fault_63_and_134_at_the_limit_when_all_is_there_before_it_is_asked_for(over: int, mark: bytes) -> None:
    splitter = Splitter(5)
    record = b"x" * (5 + over)
    splitter.feed(record + mark + b"rest")
    take = splitter.line if mark == b"\n" else lambda: splitter.until(mark)
    if over > 0:
        with pytest.raises(LineTooLong):
            take()
    else:
        assert take() == record + (b"" if mark == b"\n" else mark)
        assert splitter.peek() == b"rest"


def test_fault_63_the_end_at_the_limit() -> None:
    assert drive([b"12345"], [VERBS["line by CR LF"]] * 2, 5) == [b"12345", None]
    assert drive([b"12345\r"], [VERBS["line by CR LF"]] * 2, 5) == [("LineTooLong", b"12345"), None]
    assert drive([b"12345|"], [VERBS["until |"]], 5) == [b"12345|"]


def test_a_long_record_is_held_once() -> None:
    splitter = Splitter(1 << 20)
    chunk = b"x" * 65536
    tracemalloc.start()
    try:
        for _ in range(16):
            assert splitter.line() is MORE
            splitter.feed(chunk)
        splitter.feed(b"\n")
        line = splitter.line()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(line) == 1 << 20
    assert peak < 1.4 * (1 << 20)
