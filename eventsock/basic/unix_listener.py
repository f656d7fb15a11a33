"""The path of a Unix listener: whose it is, when a stale one may be replaced, and its removal at close.

Knows files and their inodes, and how to find out whether somebody listens. Must not know the rules of `listen_on_unix_socket`.
"""

from __future__ import annotations

import errno
import os
import socket
import stat

from ..errors import ListenError
from .arguments import checked_int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .addresses import SocketAddress

    UserOrGroup = int | str
    Owner = UserOrGroup | tuple[UserOrGroup, UserOrGroup]


class UnixListener(socket.socket):
    """A Unix socket that removes its path when it is closed: only in the process that bound it, and only if it is still its own."""

    _own: tuple[int, str, int, int] | None = None

    def own(self, path: str) -> None:
        """Notes that the socket has just been bound to `path`."""
        found = os.lstat(path)
        self._own = os.getpid(), os.path.abspath(path), found.st_dev, found.st_ino

    def close(self) -> None:
        """Removes the path and closes the socket; again does nothing."""
        own, self._own = self._own, None
        if own is not None and own[0] == os.getpid():
            _remove(*own[1:])
        super().close()

    def detach(self) -> int:
        """The descriptor, which from now on belongs to the caller; so does the path."""
        self._own = None
        return super().detach()


def _remove(path: str, device: int, inode: int) -> None:
    """Removes `path` if it still is that file. A path that cannot be removed is stale, and the next server replaces it."""
    try:
        found = os.lstat(path)
        if (found.st_dev, found.st_ino) == (device, inode):
            os.unlink(path)
    except OSError:
        pass


def clear_stale(local: SocketAddress) -> None:
    """Removes a socket at the path of `local` on which nobody listens. Raises `ListenError` for all else that is there."""
    try:
        found = os.lstat(local.path)
    except OSError:  # nothing there, or no way there: then bind() says why
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ListenError(errno.EADDRINUSE, "there is a file that is not a socket; it is left alone", address=local)
    answer = _probe(local)
    if answer == errno.ECONNREFUSED:
        _remove(local.path, found.st_dev, found.st_ino)
    elif answer != errno.ENOENT:
        raise ListenError(errno.EADDRINUSE, _life_sign(answer), address=local)


def _probe(local: SocketAddress) -> int:
    """What a connect says: 0 or an errno. ECONNREFUSED means that no process listens there."""
    try:
        with socket.socket(local.family, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            return probe.connect_ex(local.native)
    except OSError as error:
        raise ListenError.of(error, address=local) from None


def _life_sign(answer: int) -> str:
    # EAGAIN: the queue of the listener is full. EPROTOTYPE: it takes datagrams.
    if answer in (0, errno.EAGAIN, errno.EPROTOTYPE):
        return "a server is listening there"
    return f"there is a socket of which it cannot be told whether a server listens on it ({os.strerror(answer)})"


def check_owner(owner: Owner) -> tuple[int, int]:
    """The numbers of a user and a group, -1 for a group that is to stay. Raises `ValueError` for an unknown name."""
    user, group = owner if isinstance(owner, tuple) else (owner, -1)
    return _user_id(user), _group_id(group)


def _user_id(user: UserOrGroup) -> int:
    if not isinstance(user, str):
        return _checked_id(user)
    import pwd

    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise ValueError(f"owner: there is no user {user!r}") from None


def _group_id(group: UserOrGroup) -> int:
    if not isinstance(group, str):
        return _checked_id(group)
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ValueError(f"owner: there is no group {group!r}") from None


def _checked_id(number: int) -> int:
    if checked_int(number, "owner") < -1:
        raise ValueError(f"owner: there is no number {number}")
    return number
