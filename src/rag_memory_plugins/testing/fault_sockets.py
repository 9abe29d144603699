"""The sockets of a `FaultServer`: one thread that accepts, one a connection, none afterwards."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Final

__all__ = ["Sockets"]

BACKLOG: Final = 512
JOIN_SECONDS: Final = 10.0


class Sockets:
    """Listens on a free port of 127.0.0.1 and runs `serve(connection)` in a thread for each.

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
    ) -> None:
        self._serve = serve
        self._changed = changed
        self._failed = failed
        self.open: dict[socket.socket, threading.Thread] = {}
        """To be read under `changed`."""
        self.closing = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._listener.setblocking(False)
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="fault-server", daemon=True)
        self._thread.start()

    def close(self) -> list[str]:
        """Close everything; the names of threads that still run, because `serve` does."""
        self.closing = True
        self._stop.close()
        self._thread.join()
        with self._changed:
            threads = list(self.open.values())
            for connection in self.open:
                with contextlib.suppress(OSError):  # the client closed it first
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(JOIN_SECONDS)
        return [thread.name for thread in threads if thread.is_alive()]

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
