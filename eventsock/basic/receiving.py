"""Blocking receives, of streams and datagrams.

Knows recv(2) and its kin, and what the end of a stream is. Must not know how to send. Each call is tried first and waits only if it
must, whatever the blocking mode of the socket, which stays as it is.
"""

from __future__ import annotations

import errno
import socket
from io import BytesIO

from ..errors import IncompleteRead, SocketError
from .addresses import SocketAddress
from .arguments import checked_descriptor, checked_size, writable_bytes
from .deadlines import SURROUNDING, deadline_of
from .handles import Borrowed, poll
from .names import known_peer
from .patience import receive_flags, receiving

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike, WriteableBuffer

    from .addresses import NativeAddress
    from .deadlines import TimeLimit

# No more than this is ever at hand at once, and a buffer of the size costs no memory before something is in it.
_LARGEST_READ = 1 << 26

_MSG_TRUNC: int = getattr(socket, "MSG_TRUNC", 0)


def receive(sock: FileDescriptorLike, n: int, flags: int = 0, *, timeout: TimeLimit = SURROUNDING) -> bytes:
    """Waits for bytes and returns what has come, at most `n`; `b""` at the end of a stream (and at once if `n` is 0).

    What a datagram has beyond `n` bytes is lost; `receive_from` reports it. MSG_WAITALL has no effect: see `receive_exactly`.
    `timeout`: seconds for the whole call; None for no limit. Blocks the calling thread; any thread. Raises `SocketError` (also a
    `TimeoutError` when the time is over), `ValueError` or `TypeError`. After `socket-receive` of the CHICKEN egg; recv(2).
    """
    size = min(checked_size(n), _LARGEST_READ)
    deadline = deadline_of("receive", timeout)
    call_flags = receive_flags(flags)
    with Borrowed(sock) as s:
        return receiving(s, deadline, s.recv, size, call_flags) if size else b""


def receive_into(
    sock: FileDescriptorLike,
    buffer: WriteableBuffer,
    start: int = 0,
    end: int | None = None,
    flags: int = 0,
    *,
    timeout: TimeLimit = SURROUNDING,
) -> int:
    """Waits for bytes and writes what has come into `buffer` from `start` to `end`; their number, 0 at the end of a stream.

    Offsets count bytes and must lie in the buffer (`ValueError`); a buffer that cannot be written is a `TypeError`. Otherwise as
    `receive`. After `socket-receive!` of the CHICKEN egg.
    """
    deadline = deadline_of("receive", timeout)
    call_flags = receive_flags(flags)
    with writable_bytes(buffer, start, end) as room, Borrowed(sock) as s:
        return receiving(s, deadline, s.recv_into, room, 0, call_flags) if room else 0


def receive_from(sock: FileDescriptorLike, n: int, flags: int = 0, *, timeout: TimeLimit = SURROUNDING) -> tuple[bytes, SocketAddress]:
    """Waits for a datagram: its bytes, at most `n`, and the address it came from.

    An empty datagram gives `b""` and is no end. A datagram longer than `n` is a `SocketError` with EMSGSIZE, its first bytes in
    `.partial`, unless `flags` have MSG_TRUNC (take it so) or MSG_PEEK (it stays). On a connection the address is the peer's. A Unix
    sender without a name has an empty path. Otherwise as `receive`. After `socket-receive-from` of the CHICKEN egg; recvmsg(2).
    """
    size = min(checked_size(n), _LARGEST_READ)
    deadline = deadline_of("receive", timeout)
    call_flags = receive_flags(flags)
    with Borrowed(sock) as s:
        if not hasattr(s, "recvmsg"):
            data, native = receiving(s, deadline, s.recvfrom, size, call_flags)
            return data, _source(s, native)
        data, _, message_flags, native = receiving(s, deadline, s.recvmsg, size, 0, call_flags)
        source = _source(s, native)
    _refuse_cut(message_flags, flags, data, source)
    return data, source


def receive_from_into(
    sock: FileDescriptorLike,
    buffer: WriteableBuffer,
    start: int = 0,
    end: int | None = None,
    flags: int = 0,
    *,
    timeout: TimeLimit = SURROUNDING,
) -> tuple[int, SocketAddress]:
    """Waits for a datagram and writes it into `buffer` from `start` to `end`: its length and the address it came from.

    Offsets as in `receive_into`, the rest as in `receive_from`. After `socket-receive-from!` of the CHICKEN egg.
    """
    deadline = deadline_of("receive", timeout)
    call_flags = receive_flags(flags)
    with writable_bytes(buffer, start, end) as room, Borrowed(sock) as s:
        if not hasattr(s, "recvmsg_into"):
            count, native = receiving(s, deadline, s.recvfrom_into, room, 0, call_flags)
            return count, _source(s, native)
        count, _, message_flags, native = receiving(s, deadline, s.recvmsg_into, [room], 0, call_flags)
        source = _source(s, native)
        _refuse_cut(message_flags, flags, room, source)
    return count, source


def _source(sock: socket.socket, native: NativeAddress | None) -> SocketAddress:
    if native is None and sock.family != getattr(socket, "AF_UNIX", None):
        # The kernel names no sender on a connection: it is the peer, as long as there is one.
        return known_peer(sock) or SocketAddress(sock.family, "0.0.0.0" if sock.family == socket.AF_INET else "::")
    return SocketAddress.from_native(sock.family, native or "")


def _refuse_cut(message_flags: int, flags: int, data: bytes | memoryview, source: SocketAddress) -> None:
    # What is cut has filled all the room there was.
    if message_flags & _MSG_TRUNC and not flags & (_MSG_TRUNC | socket.MSG_PEEK):
        text = f"a datagram was longer than the {len(data)} bytes asked for; its first bytes are in .partial"
        error = SocketError(errno.EMSGSIZE, text, address=source)
        error.partial = bytes(data)
        raise error


def receive_exactly(sock: FileDescriptorLike, n: int, *, timeout: TimeLimit = SURROUNDING) -> bytes:
    """Waits until `n` bytes have come, and returns them. One buffer of `n` bytes is allocated, and no copy made.

    Raises `IncompleteRead`, with what came in `.partial`, if the peer ends before. Any other failure, a timeout too, is a
    `SocketError` with what came in `.partial`. `timeout`: seconds for the whole call; else the surrounding limit holds anew after
    each piece. Blocks the calling thread; any thread.
    """
    deadline = deadline_of("receive", timeout)
    storage = _storage(checked_size(n))
    call_flags = receive_flags(0)
    got = 0
    with Borrowed(sock) as s, storage.getbuffer() as view:
        try:
            while got < n:
                with view[got:] as rest:  # released at once: an error's traceback would keep the storage from being closed
                    count = receiving(s, deadline, s.recv_into, rest, 0, call_flags)
                if not count:
                    raise IncompleteRead(bytes(view[:got]), n)
                got += count
                deadline.progressed()
        except SocketError as error:
            error.partial = bytes(view[:got])
            raise
    return storage.getvalue()


def _storage(n: int) -> BytesIO:
    # BytesIO adopts the only reference to a bytes object, fills it in place and hands it out again: bytes without a copy.
    try:
        return BytesIO(bytes(n))
    except (MemoryError, OverflowError):
        raise ValueError(f"n is more than fits in memory: {n}") from None


def receive_ready(sock: FileDescriptorLike) -> bool:
    """Whether `receive` would return at once: with bytes, the end of the stream, or an error.

    Does not block; any thread. Raises `SocketError` for a closed socket. After `socket-receive-ready?` of the CHICKEN egg.
    """
    return bool(poll([checked_descriptor(sock, "sock")], False, 0.0))


def accept_ready(sock: FileDescriptorLike) -> bool:
    """Whether a connection waits to be accepted on the listener `sock`; otherwise as `receive_ready`.

    After `socket-accept-ready?` of the CHICKEN egg.
    """
    return receive_ready(sock)
