"""Cross-encoders: real graphs, built here, on onnxruntime with the shipped tokenizer.

The graphs are small but their logits are known functions of what the model is given, so that a
wrong pair, segment, mask or order shows.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import shutil
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

import rag_memory_plugins.retrieval
from rag_memory_plugins.errors import InvalidInput, MissingExtra, RerankerError
from rag_memory_plugins.ports import Reranker
from rag_memory_plugins.retrieval.cross_encoder import CrossEncoderReranker

TOKENIZER = Path(rag_memory_plugins.retrieval.__file__).parent / "data/minilm/tokenizer.json"
ALL = ("input_ids", "attention_mask", "token_type_ids")
QUERY = "red car garage"
TEXTS = ["blue boat", "the red car is in the garage", "a car", "garage and car", ""]
SHARED = [0, 3, 1, 2, 0]

# Nodes as "outputs = operator(inputs)"; capital letters are the constants below.
SHARED_WORDS = """
word = Greater(ids, SPECIAL)
first = Equal(type_ids, ZERO); asked = And(first, word)
second = Equal(type_ids, ONE); told = And(second, word)
rows = Unsqueeze(ids, AXIS_2); columns = Unsqueeze(ids, AXIS_1); equal = Equal(rows, columns)
asked_rows = Unsqueeze(asked, AXIS_2); told_columns = Unsqueeze(told, AXIS_1)
pair = And(asked_rows, told_columns); both = And(equal, pair); numbers = Cast(both)
count = ReduceSum(numbers, AXES)
"""
COUNTED = f"{SHARED_WORDS}; logits = Sub(count, TWO)"
"""The number of words that question and text share, less two."""
ASKED = """
word = Greater(ids, SPECIAL); first = Equal(type_ids, ZERO); asked = And(first, word)
numbers = Cast(asked); count = ReduceSum(numbers, AXIS_1); logits = Sub(count, TEN)"""
"""The number of words in the first segment, less ten."""
TOKENS = "numbers = Cast(mask); count = ReduceSum(numbers, AXIS_1); logits = Sub(count, TEN)"
"""The number of tokens that are not masked, less ten."""
LAST = "last = Slice(ids, END, STOP, AXIS_1); numbers = Cast(last); logits = Sub(numbers, SEP)"
"""0 if the last token of a row is [SEP], so that it has no padding."""
NOT_A_NUMBER = "numbers = Cast(mask); count = ReduceSum(numbers, AXIS_1); less = Sub(count, BIG)"
NOT_A_NUMBER += "; logits = Log(less)"
SWAPPED = f"""{SHARED_WORDS}
column = Unsqueeze(count, AXIS_1); zero = Sub(column, column); logits = Concat(column, zero)"""
"""Two logits: the first counts what is shared, so that the second says the opposite."""
EACH_TOKEN = "logits = Cast(mask)"
SLOW = f"{TOKENS.replace('logits', 'less')}; total = ReduceSum(less, AXES_0); m0 = Mul(MANY, total)"
SLOW += "".join(f"; m{n + 1} = MatMul(m{n}, m{n})" for n in range(20))
SLOW += "; nothing = ReduceSum(m20, AXES_0); logits = Add(less, nothing)"
"""As `TOKENS`, and a second's work."""


def constants(integer):
    numbers = {
        "SPECIAL": np.array(103, integer),
        "ZERO": np.array(0, integer),
        "ONE": np.array(1, integer),
        "AXIS_1": np.array([1], np.int64),
        "AXIS_2": np.array([2], np.int64),
        "AXES": np.array([1, 2], np.int64),
        "AXES_0": np.array([0, 1], np.int64),
        "END": np.array([-1], np.int64),
        "STOP": np.array([1 << 40], np.int64),
        "TWO": np.array(2, np.float32),
        "TEN": np.array(10, np.float32),
        "SEP": np.array(102, np.float32),
        "BIG": np.array(1e6, np.float32),
        "MANY": np.zeros((1000, 1000), np.float32),
    }
    return [numpy_helper.from_array(value, name) for name, value in numbers.items()]


def node(line):
    output, call = (part.strip() for part in line.split(" = "))
    operator, inputs = call.rstrip(")").split("(")
    more = {"Cast": {"to": TensorProto.FLOAT}, "Concat": {"axis": 1}}.get(operator, {})
    if operator == "ReduceSum":
        more = {"keepdims": 0 if inputs.endswith("AXES") else 1}
    return helper.make_node(operator, inputs.split(", "), [output], **more)


def write(path, code, names=ALL, integer=TensorProto.INT64):
    """A model that computes `code`; its inputs are `names`."""
    short = dict(zip((*ALL, "position_ids"), ("ids", "mask", "type_ids", "places"), strict=True))
    inputs = [helper.make_tensor_value_info(name, integer, ["batch", "tokens"]) for name in names]
    nodes = [helper.make_node("Identity", [name], [short[name]]) for name in names]
    nodes += [node(line) for part in code.split("\n") for line in part.split(";") if line.strip()]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    kind = helper.tensor_dtype_to_np_dtype(integer)
    graph = helper.make_graph(nodes, "test", inputs, [output], constants(kind))
    # Versions that the oldest onnxruntime allowed can read.
    save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.fixture
def made(tmp_path):
    """`made(code, ...)`: a reranker of such a model, closed after the test."""
    shutil.copy(TOKENIZER, tmp_path)
    rerankers = []

    def make(code=COUNTED, names=ALL, integer=TensorProto.INT64, **options):
        path = write(tmp_path / "model.onnx", code, names, integer)
        rerankers.append(CrossEncoderReranker(path, **options))
        return rerankers[-1]

    yield make
    for reranker in rerankers:
        asyncio.run(reranker.aclose())


@pytest.fixture
def runs(monkeypatch):
    """(shape, thread) of every run of a model."""
    import onnxruntime

    seen = []

    class Session(onnxruntime.InferenceSession):
        def run(self, names, feed):
            seen.append((feed["input_ids"].shape, threading.current_thread().name))
            return super().run(names, feed)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    return seen


def logit(score):
    return math.log(score / (1 - score))


def logits(scores):
    return [round(logit(score), 4) for score in scores]


async def test_the_model_reads_question_and_text_as_two_segments(made):
    got = await made().arerank(QUERY, TEXTS)
    assert logits(got) == [count - 2 for count in SHARED]


async def test_the_question_comes_first(made):
    got = await made(ASKED).arerank(QUERY, TEXTS)
    assert logits(got) == [3 - 10] * 5


async def test_scores_are_sigmoids_of_the_logit(made):
    (score,) = await made().arerank(QUERY, ["the red car is in the garage"])
    assert score == pytest.approx(1 / (1 + math.exp(-1)))


async def test_of_two_logits_the_second_is_relevant(made):
    got = await made(SWAPPED).arerank(QUERY, TEXTS)
    assert logits(got) == [-count for count in SHARED]


@pytest.mark.parametrize("integer", [TensorProto.INT32, TensorProto.INT64])
async def test_the_integers_are_those_that_the_graph_takes(made, integer):
    got = await made(integer=integer).arerank(QUERY, TEXTS)
    assert logits(got) == [count - 2 for count in SHARED]


async def test_padding_is_masked(made):
    got = await made(TOKENS, names=ALL[:2]).arerank("red", ["car", "the car is blue and red"])
    # [CLS] red [SEP] car [SEP]
    assert logits(got) == [5 - 10, 10 - 10]


async def test_a_graph_without_a_mask_gets_no_padding(made, runs):
    texts = ["car", "the car", "boat", "car " * 20, "the boat"]
    got = await made(LAST, names=ALL[:1]).arerank("red", texts)
    assert logits(got) == [0.0] * 5
    assert sorted(shape for shape, _ in runs) == [(1, 24), (2, 5), (2, 6)]


async def test_runs_are_short_and_of_like_length(made, runs):
    texts = ["car " * count for count in (90, 3, 40, 1, 200, 7, 90, 2)]
    await made(batch=3).arerank(QUERY, texts)
    assert [shape[0] for shape, _ in runs] == [3, 3, 2]
    assert all(shape[1] <= after[1] for (shape, _), (after, _) in pairwise(runs))


async def test_scores_do_not_depend_on_the_batch(made):
    texts = [f"{text} {'boat ' * count}" for count in (0, 3, 50) for text in TEXTS]
    one, many = made(batch=1), made(batch=16)
    assert await one.arerank(QUERY, texts) == await many.arerank(QUERY, texts)


async def test_a_long_text_is_cut_and_the_question_is_kept(made, runs):
    reranker = made(max_tokens=16)
    texts = ["boat " * 300 + "garage", "garage " + "boat " * 300]
    assert logits(await reranker.arerank(QUERY, texts)) == [0 - 2, 1 - 2]
    assert [shape for shape, _ in runs] == [(2, 16)]


async def test_a_question_longer_than_the_text_is_cut(made):
    reranker = made(max_tokens=16)
    assert logits(await reranker.arerank("boat " * 300, ["red boat"])) == [16 - 3 - 2 - 2]


async def test_it_runs_in_a_worker_thread_and_the_loop_goes_on(made, runs):
    reranker = made(batch=2)
    work = asyncio.ensure_future(reranker.arerank(QUERY, ["car " * 200] * 8))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
    assert {thread for _, thread in runs} == {"rag-memory-cross-encoder-0"}


async def test_two_searches_take_turns(made, runs):
    reranker = made(batch=1)
    long = asyncio.ensure_future(reranker.arerank(QUERY, ["car " * 200] * 30))
    await asyncio.sleep(0)
    await reranker.arerank(QUERY, ["car"])
    assert not long.done()
    await long


async def test_nothing_to_rank_gives_nothing(made):
    assert await made().arerank(QUERY, []) == []


def test_the_name_holds_the_sha_of_the_file(made):
    reranker = made()
    sha = hashlib.sha256(reranker.path.read_bytes()).hexdigest()
    assert reranker.name == f"cross-encoder model.onnx {sha[:12]}"
    assert isinstance(reranker, Reranker)


async def test_a_tokenizer_may_stand_elsewhere(tmp_path):
    path = write(tmp_path / "model.onnx", COUNTED)
    reranker = CrossEncoderReranker(path, tokenizer=TOKENIZER)
    assert logits(await reranker.arerank(QUERY, TEXTS)) == [count - 2 for count in SHARED]
    await reranker.aclose()


def test_a_missing_model_is_told_at_once(tmp_path):
    with pytest.raises(RerankerError, match=r"none\.onnx cannot be read .*; pass the path"):
        CrossEncoderReranker(tmp_path / "none.onnx", tokenizer=TOKENIZER)


def test_a_missing_tokenizer_is_told_at_once(tmp_path):
    path = write(tmp_path / "model.onnx", COUNTED)
    with pytest.raises(RerankerError, match=r"tokenizer\.json cannot be read .*; put"):
        CrossEncoderReranker(path)


async def test_a_file_that_is_no_model_names_the_file_and_the_remedy(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    reranker = CrossEncoderReranker(path, tokenizer=TOKENIZER)
    with pytest.raises(RerankerError, match=r"model\.onnx failed: .*; export the model"):
        await reranker.arerank(QUERY, TEXTS)
    await reranker.aclose()


async def test_a_file_that_is_no_tokenizer_is_named(tmp_path):
    path = write(tmp_path / "model.onnx", COUNTED)
    (tmp_path / "tokenizer.json").write_text("{}")
    reranker = CrossEncoderReranker(path)
    with pytest.raises(RerankerError, match=r"tokenizer\.json is no tokenizer"):
        await reranker.arerank(QUERY, TEXTS)
    await reranker.aclose()


@pytest.mark.parametrize(
    ("code", "names", "integer", "told"),
    [
        (EACH_TOKEN, ALL, TensorProto.INT64, r"logits of shape \(5, 13\) for 5 pairs"),
        (NOT_A_NUMBER, ALL, TensorProto.INT64, r"NaN or infinity"),
        (TOKENS, (*ALL, "position_ids"), TensorProto.INT64, "takes .*position_ids"),
        (TOKENS, ALL[1:], TensorProto.INT64, "but input_ids"),
        (TOKENS, ALL, TensorProto.FLOAT, "as integers"),
    ],
)
async def test_a_model_of_another_kind_is_refused(made, code, names, integer, told):
    with pytest.raises(RerankerError, match=rf"model\.onnx .*{told}.*export"):
        await made(code, names, integer).arerank(QUERY, TEXTS)


async def test_a_text_that_is_none_is_a_reranker_error(made):
    with pytest.raises(RerankerError, match=r"model\.onnx failed"):
        await made().arerank(QUERY, [b"bytes"])


async def test_a_closed_one_refuses(made):
    reranker = made()
    await reranker.arerank(QUERY, TEXTS)
    await reranker.aclose()
    with pytest.raises(RerankerError, match="was closed"):
        await reranker.arerank(QUERY, TEXTS)


async def test_one_that_is_closed_at_work_ends_well(made):
    reranker = made(batch=1)
    work = asyncio.ensure_future(reranker.arerank(QUERY, ["car " * 200] * 30))
    await asyncio.sleep(0)
    await reranker.aclose()
    with pytest.raises(RerankerError, match="was closed"):
        await work


def test_the_interpreter_waits_for_the_run_that_it_ends_in(made):
    # onnxruntime aborts the process when it is unloaded during a run
    code = (
        "import asyncio, onnxruntime, threading\n"
        "from rag_memory_plugins import CrossEncoderReranker\n"
        "begun = threading.Event()\n"
        "class Session(onnxruntime.InferenceSession):\n"
        "    def run(self, *given):\n"
        "        begun.set()\n"
        "        result = super().run(*given)\n"
        "        print('run')\n"
        "        return result\n"
        "onnxruntime.InferenceSession = Session\n"
        "async def main():\n"
        f"    one = CrossEncoderReranker({str(made(SLOW).path)!r}, batch=1)\n"
        "    work = asyncio.ensure_future(one.arerank('car', ['boat'] * 3))\n"
        "    while not begun.is_set():\n"
        "        await asyncio.sleep(0)\n"
        "    work.cancel()\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "run\n", "")


@pytest.mark.parametrize("library", ["onnxruntime", "tokenizers"])
def test_a_missing_library_names_its_extra(tmp_path, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=r"rag-memory-plugins\[local\]"):
        CrossEncoderReranker(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": 15}, {"batch": 0}, {"batch": True}, {"threads": -1}]
)
def test_a_wrong_argument_is_refused_by_name(wrong):
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        CrossEncoderReranker("model.onnx", **wrong)
