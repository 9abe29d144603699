"""The sockets of a server that fails: one thread that accepts, one a connection, none afterwards."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from typing import Final

__all__ = ["Sockets", "reset_on_close"]

BACKLOG: Final = 512
JOIN_SECONDS: Final = 10.0
LOOPBACK: Final = "127.0.0.1"


def reset_on_close(connection: socket.socket) -> None:
    """Let the end of a connection be an RST: lingering for no time, in place of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Sockets:
    """Listens on 127.0.0.1, on a free port unless one is named, and runs `serve(connection)` in a thread for each.

    `changed` is notified when a connection opens or closes; `failed` gets what `serve` raises.

    >>> sockets = Sockets(lambda connection: None, threading.Condition(), print)
    >>> sockets.address[0], len(sockets.open), sockets.close()
    ('127.0.0.1', 0, [])
    """

    def __init__(
        self,
        serve: Callable[[socket.socket], object],
        changed: threading.Condition,
        failed: Callable[[Exception], object],
        *,
        port: int = 0,
    ) -> None:
        self._serve = serve
        self._changed = changed
        self._failed = failed
        self.open: dict[socket.socket, threading.Thread] = {}
        """To be read under `changed`."""
        self.closing = False
        # Bound and never listening: nobody else gets the port while the door is shut.
        self._place = _bound((LOOPBACK, port))
        self.address: tuple[str, int] = self._place.getsockname()
        self._queue: list[socket.socket] = []
        self._door: _Door | None = None
        self.accept()

    def accept(self) -> None:
        """Accept connections, as from the start."""
        if self._door is not None:
            return  # another listener would reset who waits at this one
        self._shut()
        self._door = _Door(self.address, self._begin, self._failed)

    def refuse(self) -> None:
        """Let whoever connects be refused at once; open connections stay."""
        self._shut()

    def ignore(self) -> None:
        """Let nobody's connecting come to an end; open connections stay.

        A queue that holds one and is full. Linux alone drops what does not fit into it.
        """
        self._shut()
        listener = _bound(self.address)
        listener.listen(0)
        self._queue.append(listener)
        for _ in range(2):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(self.address)
            self._queue.append(waiting)

    def close(self) -> list[str]:
        """Close everything; the names of threads that still run, because `serve` does."""
        self.closing = True
        self._shut()
        self._place.close()
        with self._changed:
            threads = list(self.open.values())
            for connection in self.open:
                with contextlib.suppress(OSError):  # the client closed it first
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(JOIN_SECONDS)
        return [thread.name for thread in threads if thread.is_alive()]

    def _shut(self) -> None:
        if self._door is not None:
            self._door.shut()
            self._door = None
        while self._queue:
            self._queue.pop().close()

    def _begin(self, connection: socket.socket) -> None:
        thread = threading.Thread(
            target=self._run, args=(connection,), name="fault-server-connection", daemon=True
        )
        with self._changed:
            self.open[connection] = thread
            self._changed.notify_all()
        thread.start()

    def _run(self, connection: socket.socket) -> None:
        try:
            self._serve(connection)
        except OSError:
            pass  # the client reset it between two requests
        except Exception as error:  # raised again where the server's block ends
            self._failed(error)
        finally:
            with self._changed:
                connection.close()
                del self.open[connection]
                self._changed.notify_all()


class _Door:
    """A listener, and the thread that accepts at it until it is shut."""

    def __init__(
        self,
        address: tuple[str, int],
        begin: Callable[[socket.socket], object],
        failed: Callable[[Exception], object],
    ) -> None:
        self._begin = begin
        self._failed = failed
        self._listener = _bound(address)
        self._listener.listen(BACKLOG)
        self._listener.setblocking(False)
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="fault-server", daemon=True)
        self._thread.start()

    def shut(self) -> None:
        self._stop.close()
        self._thread.join()

    def _accept(self) -> None:
        with self._listener, self._stopped, selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._stopped, selectors.EVENT_READ)
            while self._stopped not in {key.fileobj for key, _ in selector.select()}:
                try:
                    connection = self._listener.accept()[0]
                except (ConnectionError, BlockingIOError):
                    continue  # the client gave up before it was accepted
                except OSError as error:  # no more files may be open: raised at the block's end
                    self._failed(error)
                    return
                connection.setblocking(True)  # some systems let it inherit the listener's mode
                self._begin(connection)


def _bound(address: tuple[str, int]) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(address)
    return bound
