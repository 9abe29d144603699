"""How large a context a prompt is given, and what happens when it is too large anyway."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from rag_memory_plugins.chat import ChatRequest, ToolSpec
from rag_memory_plugins.errors import ContextOverflow, OutOfMemory
from rag_memory_plugins.testing import refusals
from rag_memory_plugins.testing.fault_replies import Answer, ErrorEvent, Refusal
from rag_memory_plugins.testing.fault_server import FaultServer
from rag_memory_plugins.testing.installed import Installed
from rag_memory_plugins.types import Image, Message
from tests.router.ollama_server import Q4, Q5, Q8, Asked, ask, serving

TOO_LONG = Refusal(400, "the input length exceeds the context length")
LONG = "word " * 8_000  # 8,000 tokens, and by our estimate 13,333


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with serving(Q4) as server:
        yield server


def contexts(server: FaultServer) -> list[int]:
    return [request.body["options"]["num_ctx"] for request in server.chats]


def models(server: FaultServer) -> list[str]:
    return [request.model.rpartition("-")[2] for request in server.chats]


async def test_3839_a_long_prompt_gets_a_context_that_holds_it(server: FaultServer) -> None:
    """Ollama's own default is 4,096, and what is longer loses its beginning."""
    await Asked(server).pieces(LONG)
    assert contexts(server) == [16_384]


async def test_14259_ollama_is_told_not_to_forget_the_beginning(server: FaultServer) -> None:
    await Asked(server).pieces()
    assert (server.chats[0].body["truncate"], server.chats[0].body["shift"]) == (False, False)


async def test_a_context_is_not_changed_for_each_size_of_prompt(server: FaultServer) -> None:
    asked = Asked(server)
    for prompt in (LONG, "Hello", LONG, "Hello"):
        await asked.pieces(prompt)
    assert set(contexts(server)) == {16_384}


async def test_a_context_is_no_larger_than_the_models_own(server: FaultServer) -> None:
    server.models = [replace(Q4, context_length=8_192)]
    await Asked(server).pieces(LONG)
    assert contexts(server) == [8_192]


async def test_a_context_is_no_larger_than_the_window_of_the_entry(server: FaultServer) -> None:
    await Asked(server, window=6_000).pieces(LONG)
    assert contexts(server) == [6_000]


async def test_a_context_that_somebody_set_is_left_alone(server: FaultServer) -> None:
    await Asked(server, options={"num_ctx": 2_048}).pieces(LONG)
    assert contexts(server) == [2_048]


async def test_room_is_kept_for_the_answer(server: FaultServer) -> None:
    await Asked(server).pieces(ask(max_tokens=20_000))
    assert contexts(server) == [32_768]


async def test_a_prompt_of_short_tokens_is_given_twice_as_much(server: FaultServer) -> None:
    server.script(TOO_LONG)
    assert await Asked(server).pieces(LONG)
    assert contexts(server) == [16_384, 32_768]


async def test_a_prompt_that_no_context_holds_is_an_overflow(server: FaultServer) -> None:
    server.script(TOO_LONG, TOO_LONG)
    with pytest.raises(ContextOverflow):
        await Asked(server, window=32_768).pieces(LONG)
    assert contexts(server) == [16_384, 32_768]


async def test_4967_a_prompt_that_an_older_server_cut_is_told(server: FaultServer) -> None:
    asked = Asked(server)
    server.script(Answer("Yes.", usage=(2_048, 3)))
    await asked.pieces(LONG)
    assert asked.told("ollama.cut") == [
        {"model": Q4.name, "read": 2_048, "sent": 4_000, "num_ctx": 16_384}
    ]


async def test_a_prompt_that_was_read_whole_is_not_told(server: FaultServer) -> None:
    asked = Asked(server)
    server.script(Answer("Yes.", usage=(8_010, 3)))
    await asked.pieces(LONG)
    assert asked.told("ollama.cut") == []


async def test_the_very_tag_is_asked_when_it_is_installed(server: FaultServer) -> None:
    server.models = [Q8, replace(Q4, name="llama3.1:8b"), Q5]
    await Asked(server).pieces()
    assert server.chats[0].model == "llama3.1:8b"


async def test_else_the_best_that_is_installed(server: FaultServer) -> None:
    server.models = [Q4, Q8, Q5]
    await Asked(server).pieces()
    assert models(server) == ["q8_0"]


async def test_a_preferred_quantisation_is_asked_first(server: FaultServer) -> None:
    server.models = [Q4, Q8, Q5]
    await Asked(server, quantisation="q5").pieces()
    assert models(server) == ["q5_K_M"]


@pytest.mark.parametrize(
    "reply",
    [
        refusals.out_of_memory("9.5 GiB", "8.2 GiB"),
        Refusal(500, "llama runner process has terminated: CUDA error: out of memory"),
        Refusal(500, "llama runner process has terminated: cudaMalloc failed: out of memory"),
        Refusal(500, "llama runner process has terminated: signal: killed"),
        Refusal(
            500, "model runner has unexpectedly stopped, this may be due to resource limitations"
        ),
        ErrorEvent("headers", message="CUDA error: out of memory"),
    ],
    ids=lambda reply: reply.message[:60],
)
async def test_each_way_to_run_out_of_memory_leads_to_a_smaller_variant(
    server: FaultServer, reply: Refusal | ErrorEvent
) -> None:
    server.models = [Q4, Q8, Q5]
    asked = Asked(server)
    server.script(reply)
    with pytest.raises(OutOfMemory, match="is next") as caught:
        await asked.pieces()
    assert caught.value.smaller
    await asked.pieces()
    assert models(server) == ["q8_0", "q5_K_M"]


async def test_a_runner_that_ended_for_another_reason_is_not_out_of_memory(
    server: FaultServer,
) -> None:
    text = "llama runner process has terminated: error loading model: unknown model architecture"
    server.script(Refusal(500, text))
    with pytest.raises(Exception, match="unknown model architecture") as caught:
        await Asked(server).pieces()
    assert not isinstance(caught.value, OutOfMemory)


async def test_what_did_not_fit_is_told_with_its_numbers(server: FaultServer) -> None:
    server.models = [Q4, Q8]
    asked = Asked(server)
    server.script(refusals.out_of_memory("8.5 GiB", "6 GiB"))
    with pytest.raises(OutOfMemory):
        await asked.pieces()
    assert asked.told("ollama.out_of_memory") == [
        {
            "model": Q8.name,
            "num_ctx": 4_096,
            "needed": int(8.5 * 1024**3),
            "available": 6 * 1024**3,
            "next": Q4.name,
        }
    ]


async def test_a_variant_that_the_numbers_rule_out_is_passed_over(server: FaultServer) -> None:
    server.models = [Q4, Q5, Q8]
    asked = Asked(server)
    server.script(refusals.out_of_memory("9 GiB", "5.1 GiB"))  # 5.7 GB would still need 6.4 GiB
    with pytest.raises(OutOfMemory, match=r"q4_0 is next"):
        await asked.pieces()
    await asked.pieces()
    assert models(server) == ["q8_0", "q4_0"]


async def test_the_smallest_variant_that_fails_leaves_nothing(server: FaultServer) -> None:
    asked = Asked(server)
    server.script(refusals.out_of_memory())
    with pytest.raises(OutOfMemory, match="nothing smaller is installed") as caught:
        await asked.pieces()
    assert not caught.value.smaller


async def test_what_did_not_fit_is_not_asked_again_and_the_router_is_told_beforehand(
    server: FaultServer,
) -> None:
    asked = Asked(server)
    server.script(refusals.out_of_memory())
    with pytest.raises(OutOfMemory):
        await asked.pieces()
    assert "did not fit into memory" in asked.chat.fits(ask())
    with pytest.raises(OutOfMemory, match=r"7\.5 GiB needed, 5\.2 GiB free") as caught:
        await asked.pieces()
    assert (len(server.chats), caught.value.smaller) == (1, False)


async def test_a_shorter_prompt_is_still_asked(server: FaultServer) -> None:
    asked = Asked(server)
    server.script(refusals.out_of_memory())
    with pytest.raises(OutOfMemory):
        await asked.pieces(LONG)
    assert asked.chat.fits(ask(LONG))
    assert asked.chat.fits(ask("Hello")) == ""
    await asked.pieces("Hello")
    assert contexts(server) == [16_384, 4_096]


async def test_memory_is_tried_again_after_a_while(server: FaultServer) -> None:
    asked = Asked(server)
    server.script(refusals.out_of_memory())
    with pytest.raises(OutOfMemory):
        await asked.pieces()
    asked.clock.now += 300
    assert asked.chat.fits(ask()) == ""
    assert await asked.pieces()


async def test_a_context_kept_from_a_longer_prompt_is_given_up_when_it_does_not_fit(
    server: FaultServer,
) -> None:
    asked = Asked(server)
    await asked.pieces(LONG)
    server.script(refusals.out_of_memory())
    with pytest.raises(OutOfMemory) as caught:
        await asked.pieces("Hello")
    assert caught.value.smaller
    await asked.pieces("Hello")
    assert contexts(server) == [16_384, 16_384, 4_096]


@pytest.mark.parametrize("num_ctx", [1_024, 65_536])
async def test_a_context_that_somebody_set_is_not_tried_for_ever(
    server: FaultServer, num_ctx: int
) -> None:
    server.models = [Q4, Q8, Q5]
    asked = Asked(server, options={"num_ctx": num_ctx})
    server.reply = Refusal(500, "CUDA error: out of memory")
    smaller = True
    while smaller:
        with pytest.raises(OutOfMemory) as caught:
            await asked.pieces()
        smaller = caught.value.smaller
    assert models(server) == ["q8_0", "q5_K_M", "q4_0"]


async def test_a_model_that_cannot_do_it_is_not_asked(server: FaultServer) -> None:
    server.models = [Installed("llama3.1:8b", capabilities=("completion",))]
    asked = Asked(server)
    await asked.chat.ahealth()
    assert asked.chat.fits(ask(tools=(ToolSpec("weather"),))) == "llama3.1:8b cannot call tools"
    image = Image("data:image/png;base64,AAAA")
    seeing = ChatRequest((Message("user", "What?", images=(image,)),))
    assert asked.chat.fits(seeing) == "llama3.1:8b cannot see images"
    assert asked.chat.fits(ask()) == ""


async def test_an_image_that_would_have_to_be_fetched_does_not_fit(server: FaultServer) -> None:
    server.models = [replace(Q4, capabilities=("completion", "vision"))]
    asked = Asked(server)
    await asked.chat.ahealth()
    image = Image("https://example.invalid/a.png")
    assert "data: URIs" in asked.chat.fits(ChatRequest((Message("user", "?", images=(image,)),)))


async def test_a_server_without_show_is_asked_all_the_same(server: FaultServer) -> None:
    asked = Asked(server)
    server.script(*[Refusal(404, "not found")] * 2, path="/api/show")
    assert await asked.pieces()
    assert len(asked.told("ollama.not_described")) == 1
