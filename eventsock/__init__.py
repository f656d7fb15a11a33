"""The face of the package: one table of names, each served from its room when it is first asked for (PEP 562).

Knows where names live and no logic. Nothing is imported here at load time, so `import eventsock.basic` loads no event loop.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing or importlib would cost more than all of `eventsock.basic`
if TYPE_CHECKING:
    from .debug.dump import dump_on as dump_on
    from .embed.ipython import load_ipython_extension as load_ipython_extension
    from .embed.ipython import unload_ipython_extension as unload_ipython_extension
    from .errors import AcceptError as AcceptError
    from .errors import BusyError as BusyError
    from .errors import Cancelled as Cancelled
    from .errors import ConnectError as ConnectError
    from .errors import Deadlock as Deadlock
    from .errors import EventsockError as EventsockError
    from .errors import IncompleteRead as IncompleteRead
    from .errors import LineTooLong as LineTooLong
    from .errors import ListenError as ListenError
    from .errors import LoopClosedError as LoopClosedError
    from .errors import LoopStateError as LoopStateError
    from .errors import MeetingClosed as MeetingClosed
    from .errors import NoEventLoopError as NoEventLoopError
    from .errors import NotAwaited as NotAwaited
    from .errors import PoolStopped as PoolStopped
    from .errors import ResolveError as ResolveError
    from .errors import SocketError as SocketError
    from .errors import StreamClosed as StreamClosed
    from .errors import StreamError as StreamError
    from .errors import TaskCancelled as TaskCancelled
    from .errors import UnsupportedOptionError as UnsupportedOptionError
    from .loop.current import get_default_event_loop as get_default_event_loop
    from .loop.current import running_event_loop as running_event_loop
    from .loop.current import set_default_event_loop as set_default_event_loop
    from .loop.event_loop import EventLoop as EventLoop
    from .loop.reports import Statistics as Statistics
    from .loop.timers import Timeout as Timeout
    from .sockets.accept import await_accept as await_accept
    from .sockets.accept import await_accept_ipv4_connection as await_accept_ipv4_connection
    from .sockets.accept import await_accept_ipv6_connection as await_accept_ipv6_connection
    from .sockets.accept import await_accept_unix_connection as await_accept_unix_connection
    from .sockets.connect import await_connect as await_connect
    from .sockets.connect import await_connect_to_host as await_connect_to_host
    from .sockets.connect import await_connect_to_ipv4_host as await_connect_to_ipv4_host
    from .sockets.connect import await_connect_to_ipv6_host as await_connect_to_ipv6_host
    from .sockets.connect import await_connect_to_unix_host as await_connect_to_unix_host
    from .sockets.resolver import Resolver as Resolver
    from .sockets.resolver import set_resolver as set_resolver
    from .sockets.sendfile import FileSent as FileSent
    from .sockets.serve import await_serve as await_serve
    from .sockets.stdin import open_stdin as open_stdin
    from .sockets.stream import Stream as Stream
    from .sockets.text import TextStream as TextStream
    from .sockets.transfer import await_receive as await_receive
    from .sockets.transfer import await_receive_from as await_receive_from
    from .sockets.transfer import await_receive_from_into as await_receive_from_into
    from .sockets.transfer import await_receive_into as await_receive_into
    from .sockets.transfer import await_send as await_send
    from .sockets.transfer import await_send_all as await_send_all
    from .sockets.transfer import await_send_to as await_send_to
    from .tasks.a_sync import a_sync as a_sync
    from .tasks.a_sync import await_call as await_call
    from .tasks.a_sync import get_resume as get_resume
    from .tasks.choice import after as after
    from .tasks.choice import await_choice as await_choice
    from .tasks.choice import finished as finished
    from .tasks.choice import readable as readable
    from .tasks.choice import writable as writable
    from .tasks.groups import TaskGroup as TaskGroup
    from .tasks.iterators import STOP_ITERATION as STOP_ITERATION
    from .tasks.iterators import make_coroutine as make_coroutine
    from .tasks.iterators import make_iterator as make_iterator
    from .tasks.meetings import Meeting as Meeting
    from .tasks.meetings import await_meeting_receive as await_meeting_receive
    from .tasks.meetings import await_meeting_send as await_meeting_send
    from .tasks.operations import Operation as Operation
    from .tasks.run import run as run
    from .tasks.task import Task as Task
    from .tasks.thunks import await_generator as await_generator
    from .tasks.thunks import await_task as await_task
    from .tasks.thunks import await_timeout as await_timeout
    from .tasks.time_limit import timeout as timeout
    from .tasks.waitable import Await as Await
    from .tasks.waitable import waitable as waitable
    from .tasks.waits import await_callback as await_callback
    from .tasks.waits import await_readable as await_readable
    from .tasks.waits import await_sleep as await_sleep
    from .tasks.waits import await_writable as await_writable
    from .tasks.waits import await_yield as await_yield
    from .tasks.watches import a_sync_read_watch as a_sync_read_watch
    from .tasks.watches import a_sync_write_watch as a_sync_write_watch
    from .workers.in_event_loop import await_generator_in_event_loop as await_generator_in_event_loop
    from .workers.in_event_loop import await_task_in_event_loop as await_task_in_event_loop
    from .workers.in_thread_pool import await_generator_in_thread_pool as await_generator_in_thread_pool
    from .workers.in_thread_pool import await_task_in_thread_pool as await_task_in_thread_pool
    from .workers.operation import in_thread as in_thread
    from .workers.pool import ThreadPool as ThreadPool
    from .workers.threads import await_generator_in_thread as await_generator_in_thread
    from .workers.threads import await_task_in_thread as await_task_in_thread

__version__ = "0.1.0"

# Which room holds which names. The imports above say the same to type checkers; a test compares the two.
_ROOMS = {
    "embed.ipython": "load_ipython_extension unload_ipython_extension",
    "debug.dump": "dump_on",
    "errors": """
        AcceptError BusyError Cancelled ConnectError Deadlock EventsockError IncompleteRead LineTooLong ListenError LoopClosedError
        LoopStateError MeetingClosed NoEventLoopError NotAwaited PoolStopped ResolveError SocketError StreamClosed StreamError
        TaskCancelled UnsupportedOptionError
    """,
    "loop.current": "get_default_event_loop running_event_loop set_default_event_loop",
    "loop.event_loop": "EventLoop",
    "loop.reports": "Statistics",
    "loop.timers": "Timeout",
    "sockets.accept": "await_accept await_accept_ipv4_connection await_accept_ipv6_connection await_accept_unix_connection",
    "sockets.connect": """
        await_connect await_connect_to_host await_connect_to_ipv4_host await_connect_to_ipv6_host await_connect_to_unix_host
    """,
    "sockets.resolver": "Resolver set_resolver",
    "sockets.serve": "await_serve",
    "sockets.sendfile": "FileSent",
    "sockets.stdin": "open_stdin",
    "sockets.stream": "Stream",
    "sockets.text": "TextStream",
    "sockets.transfer": """
        await_receive await_receive_from await_receive_from_into await_receive_into await_send await_send_all await_send_to
    """,
    "tasks.a_sync": "a_sync await_call get_resume",
    "tasks.choice": "after await_choice finished readable writable",
    "tasks.groups": "TaskGroup",
    "tasks.iterators": "STOP_ITERATION make_coroutine make_iterator",
    "tasks.meetings": "Meeting await_meeting_receive await_meeting_send",
    "tasks.operations": "Operation",
    "tasks.run": "run",
    "tasks.task": "Task",
    "tasks.thunks": "await_generator await_task await_timeout",
    "tasks.time_limit": "timeout",
    "tasks.waitable": "Await waitable",
    "tasks.waits": "await_callback await_readable await_sleep await_writable await_yield",
    "tasks.watches": "a_sync_read_watch a_sync_write_watch",
    "workers.in_event_loop": "await_generator_in_event_loop await_task_in_event_loop",
    "workers.in_thread_pool": "await_generator_in_thread_pool await_task_in_thread_pool",
    "workers.operation": "in_thread",
    "workers.pool": "ThreadPool",
    "workers.threads": "await_generator_in_thread await_task_in_thread",
}

_HOME = {name: room for room, names in _ROOMS.items() for name in names.split()}

__all__ = [*_HOME]


if not TYPE_CHECKING:  # a type checker that saw this would take every misspelt name for an object

    def __getattr__(name: str) -> object:
        room = _HOME.get(name)
        if room is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value: object = getattr(import_module(f"{__name__}.{room}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
