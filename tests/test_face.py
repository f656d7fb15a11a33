"""The faces: their tables, the imports that type checkers read, and what the modules export say the same.

Knows the contract: each name that users may count on, where it is found, and that blocking and task families are twins.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import resolve_name
from types import ModuleType

import pytest

import eventsock
from compiled_kit import source_of
from eventsock import basic
from programs import ROOT

_CONTRACT = {
    "errors": """
        EventsockError SocketError ConnectError ListenError AcceptError ResolveError UnsupportedOptionError LoopStateError
        NoEventLoopError LoopClosedError BusyError TaskCancelled Deadlock StreamError StreamClosed LineTooLong IncompleteRead
        MeetingClosed PoolStopped NotAwaited Cancelled
        SocketError.errno SocketError.strerror SocketError.transient
    """,
    "loop": """
        EventLoop set_default_event_loop get_default_event_loop running_event_loop Timeout
        EventLoop.run EventLoop.block EventLoop.quit EventLoop.close EventLoop.add_read_watch EventLoop.add_write_watch
        EventLoop.remove_read_watch EventLoop.remove_write_watch EventLoop.post EventLoop.timeout_post EventLoop.timeout_remove
        EventLoop.pending_posts EventLoop.fileno EventLoop.next_deadline EventLoop.step EventLoop.on_wake
        EventLoop.add_signal_watch EventLoop.remove_signal_watch EventLoop.forget EventLoop.statistics EventLoop.dump EventLoop.time
    """,
    "tasks": """
        a_sync Task get_resume await_callback run waitable await_call make_iterator STOP_ITERATION make_coroutine
        await_task await_yield await_sleep await_timeout await_generator a_sync_read_watch a_sync_write_watch
        await_readable await_writable timeout TaskGroup
        Task.await_result Task.cancel Task.done Task.name Task.loop Task.current TaskGroup.a_sync TaskGroup.await_all
    """,
    "meetings": """
        Meeting await_meeting_send await_meeting_receive await_choice readable writable after finished in_thread
        Meeting.await_send Meeting.await_receive Meeting.close Meeting.ready Meeting.sending Meeting.receiving
    """,
    "workers": """
        await_task_in_thread await_task_in_event_loop await_generator_in_thread await_generator_in_event_loop
        await_task_in_thread_pool await_generator_in_thread_pool
            ThreadPool.non_blocking ThreadPool.stop ThreadPool.increment ThreadPool.min_threads ThreadPool.max_threads ThreadPool.idle
    """,
    "sockets": """
        await_connect_to_ipv4_host await_connect_to_ipv6_host await_connect_to_unix_host await_connect_to_host
        await_accept_ipv4_connection await_accept_ipv6_connection await_accept_unix_connection await_connect await_accept
        await_serve await_receive await_receive_into await_send await_send_all await_receive_from await_send_to
        Stream TextStream open_stdin
        Stream.await_getline Stream.await_geteveryline Stream.await_getsomelines Stream.await_getblock Stream.await_geteveryblock
        Stream.await_getsomeblocks Stream.await_put_bytes Stream.await_getsome Stream.await_getuntil Stream.await_getall
        Stream.await_put_file Stream.await_flush Stream.await_close Stream.close Stream.abort Stream.socket
        TextStream.await_getline TextStream.await_put_string
    """,
    "basic": """
        connect_to_ipv4_host connect_to_ipv6_host connect_to_unix_host connect_to_addresses connect_to_host
        listen_on_ipv4_socket listen_on_ipv6_socket listen_on_unix_socket
        accept_ipv4_connection accept_ipv6_connection accept_unix_connection
        SocketAddress inet_address unix_address ipv4_address_to_string ipv6_address_to_string
        SocketAddress.family SocketAddress.address SocketAddress.port SocketAddress.path SocketAddress.flowinfo
        SocketAddress.scope_id SocketAddress.packed SocketAddress.native SocketAddress.from_native
        AddressInfo address_information name_information
        receive receive_into receive_from receive_from_into receive_exactly send send_all send_to accept_ready receive_ready
        write_bytes write_string timeouts io_ports abandon_port port_socket SocketOptions SocketOptions.get SocketOptions.set
        set_fd_blocking set_fd_non_blocking set_ignore_sigpipe shutdown close_fd socket_name peer_name
        socketpair htons htonl ntohs ntohl inet_pton inet_ntop
        AF_INET SOCK_STREAM SOL_SOCKET SO_REUSEADDR TCP_NODELAY IP_TTL IPV6_V6ONLY IPPROTO_TCP MSG_PEEK AI_PASSIVE NI_NUMERICHOST
        EAI_NONAME SHUT_RDWR INADDR_ANY
    """,
}

# What the contract promises and the package does not have yet. A name leaves this list together with the commit that brings it.
NOT_YET: set[str] = set()


def _contract() -> list[str]:
    """All names as users reach them: `run`, `EventLoop.run`, `basic.send_all`."""
    return [f"basic.{name}" if room == "basic" else name for room, names in _CONTRACT.items() for name in names.split()]


def _exists(dotted: str) -> bool:
    """Whether the name can be reached from `eventsock`; what only instances have counts if the class declares it."""
    found: object = eventsock
    for name in dotted.split("."):
        if isinstance(found, type) and name in _declared(found):
            return True
        try:
            found = getattr(found, name)
        except AttributeError:
            return False
    return True


def _declared(cls: type) -> set[str]:
    """The attributes that a class declares for its instances: annotated, in slots, or set by its methods."""
    ours = [base for base in cls.__mro__ if base.__module__.startswith("eventsock")]
    assigned = {name for base in ours for name in re.findall(r"^ +self\.(\w+)(?:: [^=\n]+)? = ", source_of(base), re.MULTILINE)}
    return assigned | {name for base in ours for name in (*inspect.get_annotations(base), *getattr(base, "__slots__", ()))}


def _table(face: ModuleType) -> dict[str, str]:
    """Each name of the face's table, and the module it lives in."""
    pairs = [(name, home) for home, names in face._ROOMS.items() for name in names.split()]
    assert len(pairs) == len(dict(pairs)), "a name stands twice in _ROOMS"
    return {name: home if home.startswith("eventsock.") else f"eventsock.{home}" for name, home in pairs}


def _typed(face: ModuleType) -> dict[str, str]:
    """Each name that the face imports for type checkers, and the module it is imported from."""
    tree = ast.parse(inspect.getsource(face))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    found = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom), ast.unparse(node)
        for alias in node.names:
            if node.module != "socket":
                assert alias.asname == alias.name, f"{alias.name}: only `import X as X` is an export to type checkers"
                found[alias.name] = resolve_name("." * node.level + (node.module or ""), face.__name__)
    return found


def _loads(statement: str) -> set[str]:
    """The modules of the package, and the event loops, that are loaded after `statement` in a fresh interpreter."""
    code = f"{statement}; import sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return {name for name in loaded if name.partition(".")[0] in ("eventsock", "asyncio")}


@pytest.mark.parametrize("face", [eventsock, basic])
def test_table_and_typed_imports_agree(face: ModuleType) -> None:
    assert _typed(face) == _table(face)


@pytest.mark.parametrize(("face", "name"), [(face, name) for face in (eventsock, basic) for name in _table(face)])
def test_table_tells_where_a_name_lives(face: ModuleType, name: str) -> None:
    home = import_module(_table(face)[name])
    assert getattr(face, name) is getattr(home, name)
    assert name in getattr(home, "__all__", [name])
    assert getattr(getattr(home, name), "__module__", home.__name__) == home.__name__


@pytest.mark.parametrize("face", [eventsock, basic])
def test_face_lists_its_names(face: ModuleType) -> None:
    assert set(_table(face)) <= set(face.__all__) <= set(dir(face))
    namespace: dict[str, object] = {}
    exec(f"from {face.__name__} import *", namespace)
    assert set(face.__all__) <= set(namespace)


def test_unknown_name_is_an_attribute_error() -> None:
    # Type checkers see them too, or the first ignored error would be none.
    with pytest.raises(AttributeError, match="module 'eventsock' has no attribute 'await_nothing'"):
        eventsock.await_nothing  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match=r"module 'eventsock\.basic' has no attribute 'AF_NOTHING'"):
        basic.AF_NOTHING  # type: ignore[attr-defined]  # noqa: B018


def test_version_is_the_one_of_the_distribution() -> None:
    assert f'version = "{eventsock.__version__}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("name", _contract())
def test_contract_is_kept(name: str) -> None:
    assert _exists(name) is (name not in NOT_YET), "remove what has come from NOT_YET"


def test_not_yet_names_only_the_contract() -> None:
    assert set(_contract()) >= NOT_YET


def test_import_of_the_face_loads_no_room() -> None:
    assert _loads("import eventsock") == {"eventsock"}


def test_import_of_basic_loads_no_event_loop() -> None:
    loaded = _loads("import eventsock.basic as b; [getattr(b, name) for name in b.__all__]")
    assert {name for name in loaded if not name.startswith("eventsock.basic")} == {"eventsock", "eventsock.errors"}


@pytest.mark.parametrize("name", [name for name in _table(basic) if f"await_{name}" in _table(eventsock)])
def test_task_family_is_the_blocking_family_without_timeout(name: str) -> None:
    assert _shape(getattr(eventsock, f"await_{name}")) == [each for each in _shape(getattr(basic, name)) if each[0] != "timeout"]


def _shape(procedure: object) -> list[tuple[str, object, object]]:
    assert callable(procedure)
    return [(each.name, each.kind, each.default) for each in inspect.signature(procedure).parameters.values()]


def test_both_families_have_the_first_verbs() -> None:
    verbs = [
        f"{verb}_{family}_{end}" for verb, end in (("connect_to", "host"), ("accept", "connection")) for family in ("ipv4", "ipv6", "unix")
    ]
    assert {*verbs} <= {*_table(basic)}
    assert {f"await_{verb}" for verb in verbs} <= {*_table(eventsock)}
