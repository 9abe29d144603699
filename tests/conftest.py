"""What every test runs under: no network but loopback, the data's place, hypothesis profiles."""

from __future__ import annotations

import gc
import inspect
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from rag_memory_plugins import Memory, open_memory
from rag_memory_plugins.testing.fakes import WordEmbedder

ROOT = Path(__file__).resolve().parents[1]
LONG = os.environ.get("RAG_MEMORY_LONG") == "1"

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile(
    "long", parent=hypothesis.settings.get_profile("ci"), max_examples=1000
)
hypothesis.settings.load_profile("long" if LONG else "ci")


def block_network() -> None:
    """Refuse, and write down, every look-up and every connection that leaves this machine.

    An audit hook: it sees what C code does through `socket` too, and nothing can take it off
    again. The source of this function is also what child processes run, so it imports for itself,
    and late, because some of them measure what an import costs.
    """
    import sys

    watched = {
        "socket.connect": lambda args: args[1],
        "socket.sendto": lambda args: args[1],
        "socket.sendmsg": lambda args: args[1],
        "socket.getaddrinfo": lambda args: args[:2],
        "socket.gethostbyname": lambda args: args[:1],
        "socket.gethostbyaddr": lambda args: args[:1],
    }

    def stays_here(address: object) -> bool:
        if not isinstance(address, tuple) or not isinstance(address[0], (str, bytes)):
            return True  # a unix socket's path, a netlink group, no host
        import ipaddress

        host = address[0]
        name = host.decode() if isinstance(host, bytes) else host
        try:
            return ipaddress.ip_address(name.partition("%")[0]).is_loopback
        except ValueError:
            return name in {"", "localhost"}

    def refuse(event: str, args: tuple[object, ...]) -> None:
        if event not in watched or stays_here(watched[event](args)):
            return
        import os
        from pathlib import Path

        line = f"{event} {watched[event](args)!r}"
        with Path(os.environ["RAG_MEMORY_TEST_LOOK_UPS"]).open("a", encoding="utf-8") as log:
            log.write(f"{line}\n")
        message = f"tests run without a network, and this one tried: {line}"
        raise ConnectionRefusedError(message)

    sys.addaudithook(refuse)


class LookUps:
    """What tried to leave the machine, in this process and its children: one line an attempt."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.clear()

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def lines(self) -> list[str]:
        if not self._log.stat().st_size:  # as after nearly every test
            return []
        return self._log.read_text(encoding="utf-8").splitlines()

    def clear(self) -> None:
        """Forgive what was tried; only for tests of the guard itself."""
        self._log.write_text("", encoding="utf-8")


_LOG = pytest.StashKey[LookUps]()


def pytest_configure(config: pytest.Config) -> None:
    """Guard everything from collection on, and through `sitecustomize` every Python it starts."""
    gc.disable()  # until the tests begin: of what is imported and collected, nothing is garbage
    holder = tempfile.TemporaryDirectory(prefix="rag-memory-network-")
    config.add_cleanup(holder.cleanup)
    folder = Path(holder.name)
    code = f"{inspect.getsource(block_network)}\n\nblock_network()\n"
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    config.stash[_LOG] = LookUps(folder / "look_ups.txt")
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    patch.setenv("RAG_MEMORY_TEST_LOOK_UPS", str(folder / "look_ups.txt"))
    patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    block_network()


def pytest_collection_finish() -> None:
    """Collect garbage of tests alone, and not walk each time through ten thousand of them.

    Of xdist's processes the one that only counts what the others report never comes here.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def look_ups(pytestconfig: pytest.Config) -> Iterator[LookUps]:
    """Every attempt to leave this machine; a test that leaves one fails, even if swallowed."""
    log = pytestconfig.stash[_LOG]
    yield log
    if lines := log.lines:
        log.clear()  # the next test is not to blame
    assert lines == [], "something tried to use the network, in this test or since the last"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run for attempts that no test's fixture saw: of doctests, or after the last test."""
    if lines := session.config.stash[_LOG].lines:
        raise pytest.UsageError("something tried to use the network", *lines)


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """`shared_data("locomo/locomo.json")`: a file of ../shared/data.

    Skips where it is missing; fails there with RAG_MEMORY_REQUIRE_DATA=1.
    """

    def find(name: str) -> Path:
        path = ROOT.parent / "shared" / "data" / name
        if not path.exists():
            reason = f"../shared/data/{name} does not stand beside the checkout"
            if os.environ.get("RAG_MEMORY_REQUIRE_DATA") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
        return path

    return find


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not LONG:
        skip = pytest.mark.skip(reason="runs with RAG_MEMORY_LONG=1: make test-long")
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(skip)


@pytest.fixture
def words() -> WordEmbedder:
    """An embedder without a model, for what is not about the quality of recall."""
    return WordEmbedder()


@pytest.fixture
def opened(tmp_path: Path, words: WordEmbedder) -> Iterator[Callable[..., Memory]]:
    """`opened()`: a memory on this test's file, closed after the test; call it again for more."""
    memories = []

    def make(**options: object) -> Memory:
        options = {"embedder": words, "background": False, "drain_seconds": 0.0, **options}
        memories.append(open_memory(tmp_path / "memory.db", **options))
        return memories[-1]

    yield make
    for memory in memories:
        memory.close()
