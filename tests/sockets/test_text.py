"""Text streams: encodings, ends of lines, what cannot be decoded, and changing to bytes and back without loss."""

from __future__ import annotations

import codecs
import io
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsock import IncompleteRead, LineTooLong, Stream, StreamClosed, TextStream, a_sync, await_sleep, await_yield, run, timeout
from eventsock.sockets.coding import Coding
from eventsock.sockets.splitter import MORE
from stream_kit import Steps, Wait, both_ways

Said = Callable[[Wait], Callable[[], Any]]

TEXT = "grüß\r\n\n€ 5\nlast"


def text_and_peer(**options: Any) -> tuple[TextStream, socket.socket]:
    left, right = socket.socketpair()
    right.settimeout(10)
    return TextStream(left, **options), right


def read(data: bytes, body: Callable[[TextStream], Any], pieces: int | None = None, **options: Any) -> Any:
    """What `body` makes of a stream in which `data` comes, whole or in pieces."""
    stream, peer = text_and_peer(**options)
    with stream, peer, Stream(peer.dup()) as other:

        def feed() -> Steps:
            for i in range(0, len(data), pieces or max(1, len(data))):
                yield from other.await_put_bytes(data[i : i + (pieces or len(data))])
                yield from await_yield()
                yield from await_yield()
            yield from other.await_put_eof()

        def both() -> Steps:
            feeding = a_sync(feed)
            result = yield from body(stream)
            yield from feeding.await_result()
            return result

        return run(both)


def lines(stream: TextStream) -> Steps:
    found: list[str] = []
    yield from stream.await_geteveryline(found.append)
    return found


@both_ways
@pytest.mark.parametrize("pieces", [None, 1])
@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        (lambda s: s.await_getline(), "grüß\r"),
        (lambda s: s.await_getblock(5), "grüß\r"),
        (lambda s: s.await_getblock(100), TEXT),
        (lambda s: s.await_getblock(0), ""),
        (lambda s: s.await_getsome(1), "g"),
        (lambda s: s.await_getuntil("€"), "grüß\r\n\n€"),
        (lambda s: s.await_getall(), TEXT),
        (lambda s: s.await_geteveryline(lambda line: None), None),
        (lambda s: s.await_getsomelines(lambda line, stop: line.startswith("€") and stop(line)), "€ 5"),
        (lambda s: s.await_geteveryblock(3, lambda block: None), None),
        (lambda s: s.await_getsomeblocks(3, lambda block, stop: stop(block)), "grü"),
    ],
)
def test_each_verb(said: Said, pieces: int | None, verb: Callable[[TextStream], Any], expected: object) -> None:
    def body(stream: TextStream) -> Steps:
        return (yield from a_sync(said(lambda: verb(stream))).await_result())

    assert read(TEXT.encode(), body, pieces) == expected


@both_ways
def test_put_string(said: Said) -> None:
    stream, peer = text_and_peer(encoding="latin-1", newline="\r\n")
    with stream, peer:
        run(said(lambda: stream.await_put_string("grün\n\n")))
        assert peer.recv(100) == b"gr\xfcn\r\n\r\n"


def test_async_for_and_async_with() -> None:
    stream, peer = text_and_peer()
    with peer:
        peer.sendall(TEXT.encode())
        peer.shutdown(socket.SHUT_WR)

        async def body() -> list[str]:
            async with stream:
                return [line async for line in stream]

        assert run(body) == TEXT.split("\n")
        assert stream.closed


def test_the_rest_is_the_streams_own(tmp_path: Any) -> None:
    stream, peer = text_and_peer(gather=True)
    (tmp_path / "file").write_bytes(b"<file>")

    def body() -> Steps:
        yield from stream.await_put_string("held ")
        yield from stream.await_put_bytes(b"\xff")
        yield from stream.await_flush()
        yield from stream.await_put_file(tmp_path / "file")
        assert stream.socket is not None
        assert stream.fileno() == stream.socket.fileno() == stream.buffer.fileno()
        yield from stream.await_put_eof()
        peer.shutdown(socket.SHUT_WR)
        assert (yield from stream.await_close()) is True
        with pytest.raises(StreamClosed):
            yield from stream.await_getline()
        stream.close()
        stream.abort()

    with peer:
        run(body)
        assert peer.recv(100) == b"held \xff<file>"
        assert "utf-8" in repr(stream)


# Ends of lines


@pytest.mark.parametrize("pieces", [None, 1, 2, 3])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "shift_jis", "cp037"])
@pytest.mark.parametrize(
    ("newline", "expected"),
    [
        ("\n", ["a\rb\r", "", "c\r", "d\r\r"]),
        ("\r\n", ["a\rb", "\nc", "d\r\r\n"]),
        (None, ["a", "b", "", "c", "d", "", ""]),
    ],
)
def test_newline(encoding: str, newline: str | None, expected: list[str], pieces: int | None) -> None:
    data = "a\rb\r\n\nc\r\nd\r\r\n".encode(encoding)
    if newline == "\r\n":
        expected = ["a\rb", "\nc", "d\r"]
    elif newline is None:
        expected = ["a", "b", "", "c", "d", ""]
    assert read(data, lines, pieces, encoding=encoding, newline=newline) == expected


def test_a_lone_cr_ends_its_line_at_once_and_its_lf_may_come_later() -> None:
    stream, peer = text_and_peer(newline=None)
    with stream, peer:

        def body() -> Steps:
            peer.sendall(b"one\r")
            assert (yield from stream.await_getline()) == "one"
            peer.sendall(b"\n")
            yield from await_sleep(0.01)
            peer.sendall(b"\ntwo")
            assert (yield from stream.await_getline()) == ""
            peer.sendall(b"\r")
            assert (yield from stream.await_getline()) == "two"
            peer.sendall(b"\nbytes")
            assert (yield from stream.buffer.await_getsome()) == b"bytes"

        run(body)


@given(st.text(alphabet="aä€😀\r\n", max_size=60), st.integers(1, 7), st.sampled_from(["utf-8", "utf-16-le", "utf-32-be", "gb18030"]))
def test_every_chunking_gives_the_same_lines(text: str, size: int, encoding: str) -> None:
    data = text.encode(encoding)
    for newline, told in ((None, None), ("\n", "\n"), ("\r\n", "\r\n")):
        expected = [line.removesuffix(told or "\n") for line in io.TextIOWrapper(io.BytesIO(data), encoding, newline=told)]
        stream, peer = text_and_peer(encoding=encoding, newline=newline)
        with stream, peer:
            source, found = stream._input, []
            chunks = [data[i : i + size] for i in range(0, len(data), size)]
            while (line := stream._line(source)) is not None:
                if line is not MORE:
                    found.append(line)
                elif chunks:
                    source.feed(chunks.pop(0))
                else:
                    source.end()
        assert found == expected


@pytest.mark.parametrize("newline", ["", "\r", "x", 1])
def test_other_ends_of_lines_are_refused(newline: Any) -> None:
    with pytest.raises(ValueError, match="newline must be"):
        TextStream(3, newline=newline)


# Decoding


@pytest.mark.parametrize(("encoding", "errors"), [("nonsense", "strict"), ("hex", "strict"), ("utf-8", "nonsense")])
def test_unknown_encodings_and_ways_are_refused(encoding: str, errors: str) -> None:
    with pytest.raises(LookupError):
        TextStream(3, encoding=encoding, errors=errors)


def test_fault_64_what_cannot_be_decoded_stays_to_be_read_in_bytes() -> None:
    def body(stream: TextStream) -> Steps:
        assert (yield from stream.await_getline()) == "good"
        for _ in range(2):
            with pytest.raises(UnicodeDecodeError):
                yield from stream.await_getline()
        with pytest.raises(UnicodeDecodeError):
            yield from stream.await_getuntil("\n")
        assert (yield from stream.buffer.await_getline()) == b"b\xffd"
        with pytest.raises(UnicodeDecodeError):
            yield from stream.await_getblock(8)
        assert (yield from stream.await_getsome()) == "fine\nx"
        with pytest.raises(UnicodeDecodeError):
            yield from stream.await_getall()
        return (yield from stream.buffer.await_getall())

    assert read(b"good\nb\xffd\nfine\nx\xe2\x82", body) == b"\xe2\x82"


def test_fault_64_a_long_line_that_cannot_be_decoded_stays_too() -> None:
    line = b"x" * 50_000 + b"\xff"

    def body(stream: TextStream) -> Steps:
        for _ in range(2):
            with pytest.raises(UnicodeDecodeError):
                yield from stream.await_getline()
        return (yield from stream.buffer.await_getline()), (yield from stream.await_getline())

    assert read(line + b"\nnext\n", body, 20_000) == (line, "next")


@pytest.mark.parametrize(
    ("errors", "expected"), [("replace", "b\ufffdd"), ("ignore", "bd"), ("surrogateescape", "b\udcffd"), ("backslashreplace", "b\\xffd")]
)
@pytest.mark.parametrize("pieces", [None, 1])
def test_fault_64_errors(errors: str, expected: str, pieces: int | None) -> None:
    assert read(b"b\xffd\n", lines, pieces, errors=errors) == [expected]
    assert read(b"b\xffd", lambda stream: stream.await_getall(), pieces, errors=errors) == expected

    def some(stream: TextStream) -> Steps:
        found = ""
        while part := (yield from stream.await_getsome()):
            found += part
        return found

    assert read(b"b\xffd\xe2", some, pieces, errors=errors) == (b"b\xffd\xe2").decode("utf-8", errors)


def test_characters_cannot_be_counted_where_a_byte_becomes_several() -> None:
    with pytest.raises(ValueError, match="cannot be counted"):
        read(b"x", lambda stream: stream.await_getblock(1), errors="backslashreplace")


@given(
    st.binary(max_size=40) | st.text("aä€😀", max_size=15).map(str.encode),
    st.lists(st.integers(1, 5), min_size=1),
    st.sampled_from(["replace", "ignore", "surrogateescape"]),
)
def test_blocks_of_characters_of_anything(data: bytes, sizes: list[int], errors: str) -> None:
    text = data.decode("utf-8", errors)

    def body(stream: TextStream) -> Steps:
        found, turn = [], 0
        while (block := (yield from stream.await_getblock(sizes[turn % len(sizes)]))) is not None:
            found.append(block)
            turn += 1
        return found

    blocks = read(data, body, 1, errors=errors)
    assert "".join(blocks) == text
    assert [len(block) for block in blocks[:-1]] == [sizes[i % len(sizes)] for i in range(len(blocks) - 1)]


def test_a_byte_order_mark_is_no_text_and_stands_in_front_once() -> None:
    stream, peer = text_and_peer(encoding="utf-16")
    with stream, peer:

        def body() -> Steps:
            yield from stream.await_put_string("a")
            yield from stream.await_put_string("b")
            peer.sendall(codecs.BOM_UTF16_BE + "cd\nef\n".encode("utf-16-be"))
            return (yield from stream.await_getline()), (yield from stream.await_getuntil("e")), (yield from stream.await_getline())

        assert run(body) == ("cd", "e", "f")
        assert peer.recv(100) == "ab".encode("utf-16")


# Bytes and back


def test_text_and_bytes_in_turn_lose_nothing() -> None:
    data = "Länge: 4\r\n".encode() + b"\x00\xff\n\r" + "später\r\n".encode() + b"\xfe" * 3

    def body(stream: TextStream) -> Steps:
        head = yield from stream.await_getline()
        block = yield from stream.buffer.await_getblock(4)
        return head, block, (yield from stream.await_getline()), (yield from stream.buffer.await_getall())

    for pieces in (None, 1, 2, 3, 5):
        assert read(data, body, pieces, newline="\r\n") == ("Länge: 4", b"\x00\xff\n\r", "später", b"\xfe" * 3)


def test_a_stream_of_bytes_becomes_one_of_text_amid_its_input() -> None:
    left, right = socket.socketpair()
    with right, Stream(left) as stream:
        right.sendall(b"\xff\xffgr\xc3\xbcn\nrest")

        def body() -> Steps:
            assert (yield from stream.await_getblock(2)) == b"\xff\xff"
            assert (yield from TextStream(stream).await_getline()) == "grün"
            return (yield from stream.await_getsome())

        assert run(body) == b"rest"


def test_a_block_that_is_given_up_leaves_its_bytes() -> None:
    def body(stream: TextStream) -> Steps:
        with pytest.raises(TimeoutError), timeout(0.02):
            yield from stream.await_getblock(100)
        return (yield from stream.buffer.await_getall())

    stream, peer = text_and_peer(errors="replace")
    with stream, peer:

        def feed() -> Steps:
            peer.sendall(b"a\xff\xe2\x82")
            yield from await_sleep(0.05)
            peer.shutdown(socket.SHUT_WR)

        def both() -> Steps:
            a_sync(feed)
            return (yield from body(stream))

        assert run(both) == b"a\xff\xe2\x82"


# Limits


def test_a_line_that_is_too_long_is_told_in_whole_characters() -> None:
    def body(stream: TextStream) -> Steps:
        with pytest.raises(LineTooLong) as caught:
            yield from stream.await_getline()
        assert (caught.value.limit, caught.value.partial) == (4, "ab")
        assert (yield from stream.await_getsome(1)) == "€"
        assert (yield from stream.await_getline()) == "d"
        with pytest.raises(LineTooLong):
            yield from stream.await_getline()
        return (yield from stream.await_getline())

    for pieces in (None, 1):
        assert read("ab€d\ntoo long\nok\n".encode(), body, pieces, limit=4) == "ok"


def test_a_line_that_is_too_long_and_no_text_is_told_in_bytes() -> None:
    def body(stream: TextStream) -> Steps:
        with pytest.raises(LineTooLong) as caught:
            yield from stream.await_getline()
        return caught.value.partial

    assert read(b"\xff\xff\xff\n", body, limit=2) == b"\xff\xff"


def test_an_incomplete_record_is_told_in_text() -> None:
    def body(stream: TextStream) -> Steps:
        with pytest.raises(IncompleteRead, match="3 characters") as caught:
            yield from stream.await_getuntil("|")
        return caught.value.partial

    assert read("ab€".encode(), body) == "ab€"


@pytest.mark.parametrize("wrong", [b"x", "", None])
def test_delimiters_and_texts_are_checked(wrong: Any) -> None:
    stream, peer = text_and_peer()
    with stream, peer:
        with pytest.raises((TypeError, ValueError), match="delimiter"):
            stream.await_getuntil(wrong)
        with pytest.raises(TypeError, match="text must be"):
            stream.await_put_string(b"x")  # type: ignore[arg-type]
        with pytest.raises(UnicodeEncodeError):
            TextStream(stream.buffer, encoding="ascii").await_put_string("ü")
        assert Coding("UTF8", "strict").name == "utf-8"
