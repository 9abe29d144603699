"""A cross-encoder from an ONNX file as a `Reranker`: it reads the question and a text together."""

from __future__ import annotations

import asyncio
import atexit
import functools
import hashlib
import importlib.util
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.errors import (
    ForkedProcess,
    InvalidInput,
    MissingExtra,
    RerankerError,
    shorten,
)
from rag_memory_plugins.portal import Threads

if TYPE_CHECKING:
    from tokenizers import Encoding

__all__ = ["CrossEncoderReranker"]

R = TypeVar("R")

LIBRARIES: Final = ("onnxruntime", "tokenizers")
EXPORT: Final = (
    "export the model for sequence classification with one label, as "
    "`optimum-cli export onnx --task text-classification` does"
)
INPUTS: Final = frozenset({"input_ids", "attention_mask", "token_type_ids"})
INTEGERS: Final = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
PADDING: Final = ("[PAD]", "<pad>", "<|padding|>")
ENCODE_TEXTS: Final = 32
"""Texts a job of the tokenizer: short jobs let two searches take turns."""


class CrossEncoderReranker:
    """A sequence-pair classifier in ONNX: slower than vectors, and better, because it reads both.

    `path` is the model's file, `tokenizer` its tokenizer.json (default: beside the model). Both
    are read from the disk; nothing is downloaded. Question and text together are cut to
    `max_tokens`, the longer one first, and run `batch` at a time, shortest first, in a worker
    thread. The graph takes input_ids and, if it has them, attention_mask and token_type_ids. Its
    one logit is put through a sigmoid; of two, the second is "relevant" and the score is its
    softmax: so scores are from 0 to 1, in float64, where large logits still differ.

    The name holds a sha256 of the file (not of weights kept beside it). `threads` is how many one
    run uses. Raises `MissingExtra` without the extra `local`, `InvalidInput`; `RerankerError` for
    a file that is missing, now, or that is no such model, at first use; `ForkedProcess`.

    >>> CrossEncoderReranker("reranker.onnx")
    Traceback (most recent call last):
    rag_memory_plugins.errors.RerankerError: reranker.onnx cannot be read (No such file or
    directory); pass the path of the model's .onnx file
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        tokenizer: str | os.PathLike[str] | None = None,
        max_tokens: int = 512,
        batch: int = 16,
        threads: int | None = None,
    ) -> None:
        threads = threads or min(2, os.cpu_count() or 1)
        limits = (("max_tokens", max_tokens, 16), ("batch", batch, 1), ("threads", threads, 1))
        for name, value, least in limits:
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InvalidInput(name, value, f"pass a whole number from {least}")
        if any(importlib.util.find_spec(library) is None for library in LIBRARIES):
            raise MissingExtra("local", "CrossEncoderReranker")
        self.path = Path(path)
        self.tokenizer = Path(tokenizer or self.path.with_name("tokenizer.json"))
        self.max_tokens = max_tokens
        self.batch = batch
        self.threads = threads
        # Now, so that a wrong path is told where it was written and not by every search.
        sha = _sha256(self.path, "pass the path of the model's .onnx file")
        _sha256(self.tokenizer, "put tokenizer.json beside the model, or pass tokenizer=")
        self.name = f"cross-encoder {self.path.name} {sha[:12]}"
        self._lock, self._loading = threading.Lock(), threading.Lock()
        self._worker: Threads | None = None
        self._pid = 0
        self._model: _Model | None = None
        self._at_exit: Callable[[], object] = object
        self._closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, max_tokens={self.max_tokens})"

    async def arerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """One score a text, from 0 to 1. Raises `RerankerError`, naming the file."""
        pairs: list[Encoding] = []
        for start in range(0, len(texts), ENCODE_TEXTS):
            some = texts[start : start + ENCODE_TEXTS]
            pairs += await self._run(functools.partial(_Model.encode, query=query, texts=some))
        scores = np.empty(len(texts))
        for job in await self._run(functools.partial(_Model.jobs, pairs=pairs, batch=self.batch)):
            some_pairs = [pairs[at] for at in job]
            scores[job] = await self._run(functools.partial(_Model.score, pairs=some_pairs))
        return [float(score) for score in scores]

    async def aclose(self) -> None:
        """End the worker and free the model; calls that run or come later are refused."""
        with self._lock:
            self._closed = True
            worker, self._worker = self._worker, None
        if worker is not None:
            await _idle(worker, self._pid)
            atexit.unregister(self._at_exit)
            worker.close()
        self._model = None

    async def _run(self, job: Callable[[_Model], R]) -> R:
        with self._lock:
            self._check_open()
            if self._worker is None:
                self._worker, self._pid = Threads(1, "rag-memory-cross-encoder"), os.getpid()
                # onnxruntime aborts the process if it is unloaded during a run.
                idle = functools.partial(_idle, self._worker, self._pid)
                self._at_exit = atexit.register(lambda: asyncio.run(idle()))
            worker = self._worker
        if self._pid != os.getpid():
            raise ForkedProcess(f"{self.name} is of process {self._pid}; make a new one after fork")
        return await worker.run(lambda: self._guard(job))

    def _guard(self, job: Callable[[_Model], R]) -> R:
        try:
            with self._loading:
                self._check_open()
                if self._model is None:
                    self._model = _Model(self)
                model = self._model
            return job(model)
        except (RerankerError, MissingExtra):
            raise
        except Exception as error:  # the errors of onnxruntime and tokenizers share no base class
            raise RerankerError(f"{self.path} failed: {shorten(error, 300)}; {EXPORT}") from error

    def _check_open(self) -> None:
        if self._closed:
            raise RerankerError(f"{self.name} was closed; make a new one")


async def _idle(worker: Threads, pid: int) -> None:
    if pid == os.getpid():
        await worker.run(lambda: None)


class _Model:
    """The loaded graph and its tokenizer. Its methods block."""

    def __init__(self, of: CrossEncoderReranker) -> None:
        try:
            import onnxruntime
            from tokenizers import Tokenizer
        except ImportError as error:  # there, but made for another machine or half removed
            raise MissingExtra("local", f"CrossEncoderReranker ({error})") from error
        self._path = of.path
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = of.threads
        options.log_severity_level = 4  # what it would print is in the error too
        # As for the embedder: memory of the largest batch is given back, waiting threads sleep.
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # By path, because weights over 2 GB stand in files beside it.
        self._session = onnxruntime.InferenceSession(
            str(of.path), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {item.name: item.type for item in self._session.get_inputs()}
        unknown = sorted(self._inputs.keys() - INPUTS)
        wrong = sorted(name for name, kind in self._inputs.items() if kind not in INTEGERS)
        if unknown or wrong or "input_ids" not in self._inputs:
            raise RerankerError(
                f"{of.path} takes {self._inputs}, but input_ids, attention_mask and "
                f"token_type_ids are what a pair is made of, as integers; {EXPORT}"
            )
        outputs = [item.name for item in self._session.get_outputs()]
        self._output = "logits" if "logits" in outputs else outputs[0]
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(of.tokenizer))
        except Exception as error:  # tokenizers raises bare Exceptions
            raise RerankerError(
                f"{of.tokenizer} is no tokenizer ({error}); pass the model's own tokenizer.json"
            ) from error
        self._pad = self._pad_id()
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(of.max_tokens, strategy="longest_first")

    def _pad_id(self) -> int:
        if self._tokenizer.padding is not None:
            return int(self._tokenizer.padding["pad_id"])
        # Not any number: some models tell positions by which tokens are padding.
        found = (self._tokenizer.token_to_id(token) for token in PADDING)
        return next((known for known in found if known is not None), 0)

    def encode(self, query: str, texts: Sequence[str]) -> list[Encoding]:
        """The question with each text, as the tokenizer joins a pair."""
        # One by one: encode_batch starts threads of its own, which do not survive a fork.
        return [self._tokenizer.encode(query, text) for text in texts]

    def jobs(self, pairs: Sequence[Encoding], batch: int) -> list[list[int]]:
        """Places of `pairs`, in runs of like length; without a mask, of the same length."""
        jobs: list[list[int]] = []
        masked = "attention_mask" in self._inputs
        for at in sorted(range(len(pairs)), key=lambda at: len(pairs[at])):
            same = jobs and (masked or len(pairs[jobs[-1][0]]) == len(pairs[at]))
            if not same or len(jobs[-1]) >= batch:
                jobs.append([])
            jobs[-1].append(at)
        return jobs

    def score(self, pairs: Sequence[Encoding]) -> NDArray[np.float64]:
        """Scores of some pairs, shape (pairs,), from one run of the graph."""
        shape = (len(pairs), max(len(pair) for pair in pairs))
        columns = {
            "input_ids": np.full(shape, self._pad, np.int64),
            "attention_mask": np.zeros(shape, np.int64),
            "token_type_ids": np.zeros(shape, np.int64),
        }
        for row, pair in enumerate(pairs):
            columns["input_ids"][row, : len(pair)] = pair.ids
            columns["attention_mask"][row, : len(pair)] = 1
            columns["token_type_ids"][row, : len(pair)] = pair.type_ids
        feed = {name: columns[name].astype(INTEGERS[kind]) for name, kind in self._inputs.items()}
        logits = np.asarray(self._session.run([self._output], feed)[0])
        if logits.shape not in {(len(pairs),), (len(pairs), 1), (len(pairs), 2)}:
            raise RerankerError(
                f"{self._path} gave {self._output} of shape {logits.shape} for {len(pairs)} "
                f"pairs, expected one or two numbers a pair; {EXPORT}"
            )
        if not np.isfinite(logits).all():
            raise RerankerError(
                f"{self._path} gave NaN or infinity; if its weights are float16, export float32"
            )
        table = logits.astype(np.float64).reshape(len(pairs), -1)
        margin = table[:, -1] - (table[:, 0] if table.shape[1] == 2 else 0.0)
        with np.errstate(over="ignore"):  # of a very negative logit: the score is 0, as it should
            scores: NDArray[np.float64] = 1 / (1 + np.exp(-margin))
        return scores


def _sha256(path: Path, remedy: str) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while data := file.read(1 << 20):
                digest.update(data)
    except OSError as error:
        raise RerankerError(f"{path} cannot be read ({error.strerror}); {remedy}") from error
    return digest.hexdigest()
