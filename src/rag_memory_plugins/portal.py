"""One background event loop for the process, and the sync faces derived from async methods.

All I/O of a `Memory` lives on the portal's loop. An `a` method may be awaited from any loop: it is
carried to the portal with its contextvars, and cancelling it there cancels it here. A sync method
is the same coroutine, waited for from the calling thread, so it works inside a running loop (a
notebook cell) too: the loop it runs on is another one.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextvars
import functools
import inspect
import os
import queue
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from rag_memory_plugins.carrying import Carried, resolve
from rag_memory_plugins.errors import ForkedProcess, UnknownArgument, WouldDeadlock, nearest

__all__ = [
    "Portal",
    "Threads",
    "at_once",
    "blocking",
    "blocking_function",
    "get_portal",
    "on_portal",
    "resolve",
    "strict",
]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Portaled")


class Portaled(Protocol):
    """What has a portal: the `self` of every public method with two faces."""

    @property
    def portal(self) -> Portal: ...


class Threads:
    """A few daemon threads that run blocking functions for the portal's loop.

    Not `ThreadPoolExecutor`: the interpreter shuts its executors down before `atexit`, and a
    memory that drains at exit still has texts to embed and rows to write by then.
    """

    def __init__(self, count: int, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._count = count
        for number in range(count):
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True).start()

    async def run(self, function: Callable[[], R]) -> R:
        """Run `function` in one of the threads and return what it returns."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        context = contextvars.copy_context()

        def job() -> None:
            try:
                result = context.run(function)
            except BaseException as error:  # the waiting coroutine gets it, whatever it is
                resolve(loop, future, None, error)
            else:
                resolve(loop, future, result, None)

        self._jobs.put(job)
        return await future

    def close(self) -> None:
        """Let the threads end after the jobs that are already queued."""
        for _ in range(self._count):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # a finished job must not keep its memory alive while the thread waits


class Portal:
    """A daemon thread with an event loop. Use `get_portal()`: one a process is enough."""

    def __init__(self) -> None:
        self.pid: Final = os.getpid()
        self._closers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._threads: Threads | None = None
        self.loop: Final = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(started,), name="rag-memory-portal", daemon=True
        )
        self._thread.start()
        started.wait()

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(started.set)
        self.loop.run_forever()

    def check(self) -> None:
        """Raise `ForkedProcess` in a child of the process that started this portal."""
        if os.getpid() != self.pid:
            raise ForkedProcess(
                f"this memory was opened in process {self.pid} and is used in its fork "
                f"{os.getpid()}, where its threads do not run; call open_memory() in the child"
            )

    @property
    def is_current_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def call(self, coroutine: Coroutine[Any, Any, R], what: str = "this call") -> R:
        """Run `coroutine` on the portal and wait for it from this thread.

        Raises `WouldDeadlock` on the portal's own thread, `ForkedProcess` after fork.
        """
        try:
            self.check()
            if self.is_current_thread:
                raise WouldDeadlock(
                    f"{what} waits for the portal and was called on the portal's own thread, "
                    "from a hook or a callback; use the method's async form, with the a prefix"
                )
        except BaseException:
            coroutine.close()
            raise
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C while waiting: stop the work too, instead of leaving it to run unseen.
            future.cancel()
            raise

    async def acall(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Await `coroutine` on the portal from any loop, with contextvars and cancellation."""
        try:
            self.check()
        except BaseException:
            coroutine.close()
            raise
        if self.is_current_thread:
            return await coroutine
        future: concurrent.futures.Future[R] = asyncio.run_coroutine_threadsafe(
            coroutine, self.loop
        )
        return await asyncio.wrap_future(future)

    def carry(self, pieces: AsyncIterator[R]) -> AsyncIterator[R]:
        """Iterate `pieces` on the portal, and hand each over to whichever loop reads.

        Cancelling the reader, or `aclose()`, closes `pieces` at once and returns when that is done.
        On the portal's own thread they are read directly.
        """
        self.check()
        return pieces if self.is_current_thread else Carried(pieces, self.loop)

    async def acompute(self, function: Callable[[], R]) -> R:
        """Run a function that takes milliseconds beside the loop, which serves every tenant."""
        if self._threads is None:
            self._threads = Threads(2, "rag-memory-compute")
        return await self._threads.run(function)

    def at_exit(self, owner: Any) -> None:
        """Call `owner.close()` before the interpreter exits, unless it is gone by then."""
        self._closers.add(owner)

    def close_owners(self) -> None:
        """Close whatever is still open; run by `atexit` while daemon threads are alive."""
        if os.getpid() == self.pid:
            for owner in list(self._closers):
                owner.close()


_lock = threading.Lock()
_portal: Portal | None = None


def get_portal() -> Portal:
    """The portal of this process, started at first use; a forked child gets its own."""
    global _portal
    with _lock:
        if _portal is None or _portal.pid != os.getpid():
            _portal = Portal()
            atexit.register(_portal.close_owners)
        return _portal


def _after_fork() -> None:
    # The lock may have been held by a thread that does not exist in the child.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _unknown_argument(function: Callable[..., Any], kwargs: dict[str, Any]) -> None:
    """Turn the TypeError of a misspelt keyword into one that names the nearest valid one."""
    names = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self" and parameter.kind is not inspect.Parameter.VAR_POSITIONAL
    ]
    for name, value in kwargs.items():
        if name not in names:
            raise UnknownArgument(f"{function.__qualname__}({name}=)", value, nearest(name, names))


def strict(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse an unknown keyword argument with `UnknownArgument`, naming the nearest valid one.

    A function that takes any keyword (a framework's interface may ask for that) is left as it is.
    """
    parameters = inspect.signature(function).parameters
    if any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values()):
        return function
    known = set(parameters)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs and not kwargs.keys() <= known:
            _unknown_argument(function, kwargs)
        return function(*args, **kwargs)

    return call


def on_portal(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """An async method that runs on its object's portal, whichever loop awaits it."""
    checked = strict(method)

    @functools.wraps(method)
    async def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self.portal.acall(checked(self, *args, **kwargs))

    return run


def blocking(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[S, P], R]:
    """The sync face of an async method: `add = blocking(aadd)`."""
    name = method.__name__.removeprefix("a")

    @functools.wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.portal.call(method(self, *args, **kwargs), f"{name}()")

    call.__name__ = name
    call.__qualname__ = f"{method.__qualname__.rpartition('.')[0]}.{name}"
    call.__doc__ = f"Sync form of `{method.__name__}`.\n\n{inspect.getdoc(method) or ''}"
    return strict(call)  # an error then names the method that was called


def at_once(work: Coroutine[Any, Any, R]) -> R:
    """What `work` returns, which awaits nothing that waits; it runs here and now."""
    try:
        work.send(None)
    except StopIteration as done:
        result: R = done.value
        return result
    raise AssertionError("it waited for something")


def blocking_function(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """The sync face of an async function, run on the process's portal."""
    name = function.__name__.removeprefix("a")

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return get_portal().call(function(*args, **kwargs), f"{name}()")

    call.__name__ = call.__qualname__ = name
    return strict(call)
