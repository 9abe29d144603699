"""The cache of equal requests: what is equal, what is kept, for whom, and how much."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.chat import Answer, ChatRequest, NativeMessages, ToolSpec
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.forgetting import Erased
from rag_memory_plugins.namespace import SHARED, Namespace, Scope
from rag_memory_plugins.router.cache_rules import CacheRules
from rag_memory_plugins.router.caching import AnswerCache, ExactCache
from rag_memory_plugins.router.models import Model
from rag_memory_plugins.testing.models import ScriptedModel
from rag_memory_plugins.types import Image, Message, ToolCall

ANN, BEN = Scope("acme", "ann"), Scope("acme", "ben")
WEATHER = ToolSpec("weather", "Of a city", {"type": "object"})


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def ask(text: str = "What is HTTP?", scope: Scope | None = ANN, **values: Any) -> ChatRequest:
    return ChatRequest((Message("user", text),), scope=scope, **values)


def said(text: str = "A protocol.", **values: Any) -> Answer:
    return Answer(Message("assistant", text), **{"finish": "stop", "model": "small", **values})


def cache(**values: Any) -> ExactCache:
    own = {
        name: values.pop(name)
        for name in ("ttl", "max_entries", "max_bytes", "clock", "hooks")
        if name in values
    }
    return ExactCache(CacheRules(["small", "large"], **values), **own)


async def kept(of: AnswerCache, request: ChatRequest, answer: Answer | None = None) -> bool:
    """Whether the answer to a request is there for the next one that is equal."""
    assert await of.alook(request) is None
    await of.akeep(request, answer or said())
    return await of.alook(replace(request, id="again")) is not None


async def test_an_equal_request_gets_the_answer_as_a_message_of_its_own() -> None:
    answers = cache()
    assert isinstance(answers, AnswerCache)
    request = ask()
    assert await answers.alook(request) is None
    given_answer = said(native=object())
    await answers.akeep(request, given_answer)
    again = ask()
    found = await answers.alook(again)
    assert found is not None
    assert (found.kind, found.sampled) == ("exact", False)
    assert found.answer.message.content == "A protocol."
    assert (found.answer.model, found.answer.request_id, found.answer.native) == (
        "small",
        again.id,
        None,
    )
    assert found.answer.message.id != given_answer.message.id


BASE: dict[str, Any] = {"max_tokens": 50, "stop": ("x",), "options": {"seed": 1, "top_p": 0.5}}
OTHERS: list[dict[str, Any]] = [
    {"messages": (Message("user", "What is HTTPS?"),)},
    {"messages": (Message("user", "What is HTTP? "),)},
    {"messages": (Message("user", "What is HTTP?", name="ann"),)},
    {"messages": (Message("assistant", "What is HTTP?"),)},
    {"messages": (Message("system", "Be short."), Message("user", "What is HTTP?"))},
    {"messages": (Message("user", "What is"), Message("user", "HTTP?"))},
    {"messages": (Message("user", "What is HTTP?", images=(Image("data:,1"),)),)},
    {"messages": (Message("user", "What is HTTP?", images=(Image("data:,2"),)),)},
    {"max_tokens": 51},
    {"temperature": 0.0},
    {"stop": ("y",)},
    {"options": {"seed": 2, "top_p": 0.5}},
    {"options": {"seed": "1", "top_p": 0.5}},
    {"schema": {"type": "object"}},
    {"tools": (WEATHER,)},
    {"tools": (ToolSpec("weather", "Of a town", {"type": "object"}),)},
    {"tools": (WEATHER,), "tool_choice": "none"},
    {"native": {"reasoning": "high"}},
    {"scope": BEN},
    {"scope": Scope("acme", SHARED)},
    {"scope": Scope("acme", "ann", items=True)},
    {"scope": Scope("acme/ann", "ann")},
]


@pytest.mark.parametrize("other", range(len(OTHERS)))
async def test_a_request_that_differs_in_anything_a_model_sees_gets_nothing(other: int) -> None:
    answers = cache(tools=True)
    variants = [
        replace(ask(**BASE), id=f"r{at}", **values) for at, values in enumerate([{}, *OTHERS])
    ]
    one = variants.pop(other + 1)
    assert await answers.alook(one) is None
    await answers.akeep(one, said())
    assert [await answers.alook(each) for each in variants] == [None] * len(variants)


async def test_ids_times_and_the_order_of_options_do_not_count() -> None:
    answers = cache()

    def asked(call: str, options: dict[str, Any]) -> ChatRequest:
        calls = (ToolCall(f"{call}1", "weather", "{}"), ToolCall(f"{call}2", "weather", '{"a": 1}'))
        messages = (
            Message("user", "Hello"),
            Message("assistant", "", tool_calls=calls),
            Message("tool", "rain", tool_call_id=f"{call}1"),
            Message("tool", "sun", tool_call_id=f"{call}2"),
        )
        return ChatRequest(messages, scope=ANN, options=options)

    assert await kept(answers, asked("a", {"seed": 1, "top_p": 1}))
    assert await answers.alook(asked("b", {"top_p": 1, "seed": 1})) is not None
    swapped = asked("c", {"seed": 1, "top_p": 1})
    one, two = swapped.messages[2:]
    crossed = (replace(one, tool_call_id="c2"), replace(two, tool_call_id="c1"))
    assert await answers.alook(replace(swapped, messages=(*swapped.messages[:2], *crossed))) is None


@pytest.mark.parametrize(
    ("request_", "rules"),
    [
        (ask(scope=None), {}),
        (ask(tools=(WEATHER,)), {}),
        (ask(temperature=0.7), {}),
        (ask(options={"temperature": 0.7}), {}),
        (ask("What is the latest version?"), {}),
        (ask("Wie ist das Wetter heute?"), {}),
        (ask(native=object()), {}),
        (ask("What did Bo say?"), {"volatile": lambda text: "Bo" in text}),
    ],
    ids=[
        "no scope",
        "tools",
        "temperature",
        "temperature option",
        "time",
        "heute",
        "native",
        "own",
    ],
)
async def test_a_request_is_never_answered_from_the_cache(
    request_: ChatRequest, rules: Any
) -> None:
    assert not await kept(cache(**rules), request_)


@pytest.mark.parametrize(
    "answer",
    [
        said(finish="length"),
        said(finish="content_filter"),
        said(finish="MAX_TOKENS"),
        said(" "),
        said(model="stranger"),
        Answer(
            Message("assistant", "Well", tool_calls=(ToolCall("1", "weather"),)),
            "stop",
            model="small",
        ),
    ],
    ids=["length", "filter", "unknown end", "blank", "another model", "tool call"],
)
async def test_an_answer_is_not_kept(answer: Answer) -> None:
    assert not await kept(cache(tools=True), ask(), answer)


@pytest.mark.parametrize(
    ("request_", "rules"),
    [
        (ask(temperature=0.0), {}),
        (ask(temperature=None), {}),
        (ask(temperature=0.7), {"max_temperature": 1.0}),
        (ask(tools=(WEATHER,)), {"tools": True}),
        (ask("What is the latest version?"), {"volatile": lambda _: False}),
    ],
)
async def test_a_request_is_kept_when_it_may_be(request_: ChatRequest, rules: Any) -> None:
    assert await kept(cache(**rules), request_)


async def test_a_weaker_models_answer_is_not_given_for_the_strong_ones() -> None:
    models = [
        Model(ScriptedModel(name="large"), quality=0.9),
        Model(ScriptedModel(name="small"), quality=0.3),
    ]
    assert not await kept(ExactCache(CacheRules(models)), ask(), said(model="small"))
    assert await kept(ExactCache(CacheRules(models)), ask(), said(model="large"))
    assert await kept(ExactCache(CacheRules(models, keep=["small"])), ask(), said(model="small"))


async def test_another_version_or_list_of_models_is_another_cache() -> None:
    secret = bytes(32)
    keys = {
        CacheRules(models, version=version, secret=secret).key(ANN, ask())
        for models in (["small"], ["small", "large"], [Model(ScriptedModel(name="small"))])
        for version in ("", "2")
    }
    assert len(keys) == 6
    assert CacheRules(["small"]).key(ANN, ask()) != CacheRules(["small"]).key(ANN, ask())


async def test_users_share_when_they_are_told_to_and_tenants_never() -> None:
    answers = cache(per="tenant")
    assert await kept(answers, ask())
    assert await answers.alook(ask(scope=BEN)) is not None
    assert await answers.alook(ask(scope=Scope("other", "ann"))) is None


IDS = st.sampled_from(["a", "b", "a/b", "b/a", "a%2Fb", "*", "@", "A", "\uff41", " a"])


@given(
    st.lists(st.tuples(IDS, IDS, st.sampled_from(["One", "Two"])), max_size=12),
    st.sampled_from(["user", "tenant"]),
)
async def test_an_answer_is_given_to_its_own_partition_alone(steps: Any, per: Any) -> None:
    answers = ExactCache(CacheRules(["small"], per=per))
    for tenant, user, text in steps:
        request = ask(text, Scope(tenant, user))
        mine = f"{tenant}|{user if per == 'user' else ''}|{text}"
        found = await answers.alook(request)
        if found is None:
            await answers.akeep(request, said(mine))
        else:
            assert found.answer.message.content == mine


async def test_an_answer_ends_with_its_time() -> None:
    clock = Clock()
    answers = cache(ttl=60, clock=clock)
    assert await kept(answers, ask())
    clock.now += 59
    assert await answers.alook(ask()) is not None
    clock.now += 1
    assert await answers.alook(ask()) is None
    assert len(answers) == 0


async def test_the_cache_is_bounded_in_entries_and_drops_what_was_used_longest_ago() -> None:
    answers = cache(max_entries=3)
    for text in ("One", "Two", "Three"):
        assert await kept(answers, ask(text))
    assert await answers.alook(ask("One")) is not None
    assert await kept(answers, ask("Four"))
    assert len(answers) == 3
    assert await answers.alook(ask("Two")) is None
    assert await answers.alook(ask("One")) is not None


async def test_the_cache_is_bounded_in_bytes() -> None:
    events = []
    answers = cache(max_bytes=50_000, hooks=[events.append])
    for number in range(100):
        assert await kept(answers, ask(f"Number {number}"), said("é" * 2_000))
    assert len(answers) == 10
    assert not await kept(answers, ask("Huge"), said("x" * 50_000))
    assert events[-1].name == "cache.skipped"
    assert "max_bytes" in str(events[-1].data["reason"])
    assert len(answers) == 10


async def test_forgetting_drops_a_user_or_a_tenant_and_nobody_else() -> None:
    answers = cache(per="tenant")
    others = [
        ask("One"),
        ask("Two", BEN),
        ask("Three", Scope("acme/x", "ann")),
        ask("Four", Scope("ac", "ann")),
    ]
    for request in others:
        assert await kept(answers, request)
    assert await answers.aforget(ANN) == 1
    assert [await answers.alook(each) is None for each in others] == [True, False, False, False]
    assert await answers.aforget("acme") == 1
    assert [await answers.alook(each) is None for each in others] == [True, True, False, False]
    with pytest.raises(InvalidInput, match="who"):
        await answers.aforget("")


async def test_what_is_answered_while_its_user_is_forgotten_is_not_kept() -> None:
    answers = cache()
    one, two = ask(), ask(scope=BEN)
    assert [await answers.alook(one), await answers.alook(two)] == [None, None]
    answers.forget(Erased(Namespace("acme", "ann", "monday")))
    await answers.akeep(one, said())
    await answers.akeep(two, said())
    assert await answers.alook(ask()) is None
    assert await answers.alook(ask(scope=BEN)) is not None


async def test_two_requests_of_one_id_do_not_get_each_others_answers() -> None:
    answers = cache()
    one, two = ask("One", id="same"), ask("Two", id="same")
    await answers.alook(one)
    await answers.alook(two)
    await answers.akeep(one, said("to one"))
    await answers.akeep(two, said("to two"))
    for text, right in (("One", "to one"), ("Two", "to two")):
        found = await answers.alook(ask(text))
        assert found is None or found.answer.message.content == right


async def test_an_answer_that_the_caller_does_not_accept_is_asked_for_anew() -> None:
    answers = cache()

    def refuse(answer: Answer) -> None:
        raise ValueError(answer.message.content)

    assert await kept(answers, ask())
    picky = ask(accept=refuse)
    assert await answers.alook(picky) is None
    await answers.akeep(picky, said("Better."))
    found = await answers.alook(ask())
    assert found is not None
    assert found.answer.message.content == "Better."


async def test_messages_of_a_framework_are_cached_when_they_are_text() -> None:
    class Native:
        def __init__(self, content: object) -> None:
            self.content = content

    def asked(content: object) -> ChatRequest:
        messages = NativeMessages(
            [Native(content)], lambda _: [Message("user", "Look")], characters=4
        )
        return ChatRequest(messages, scope=ANN)

    assert await kept(cache(), asked("Look"))
    assert await kept(cache(), asked([{"type": "text", "text": "Look"}]))
    assert not await kept(cache(), asked([{"type": "text", "text": "Look"}, {"type": "file"}]))


def test_sixty_four_threads_agree() -> None:
    answers = cache(max_entries=20)
    wrong, barrier = [], threading.Barrier(64)

    async def work(seed: int) -> None:
        for step in range(30):
            user, text = f"u{(seed + step) % 5}", f"Question {(seed * step) % 7}"
            request = ask(text, Scope("acme", user))
            found = await answers.alook(request)
            if found is None:
                await answers.akeep(request, said(f"{user} {text}"))
            elif found.answer.message.content != f"{user} {text}":
                wrong.append(found)
            if step % 10 == 9:
                await answers.aforget(Scope("acme", user))

    def run(seed: int) -> None:
        barrier.wait()
        asyncio.run(work(seed))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(answers) <= 20


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"models": []}, "models"),
        ({"models": "small"}, "models"),
        ({"per": "team"}, "per"),
        ({"version": 3}, "version"),
        ({"secret": b"short"}, "secret"),
        ({"keep": ["other"]}, "keep"),
    ],
)
def test_bad_rules_are_refused_by_name(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}"):
        CacheRules(**{"models": ["small"], **values})


@pytest.mark.parametrize("field", ["ttl", "max_entries", "max_bytes"])
def test_bad_bounds_are_refused_by_name(field: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}"):
        cache(**{field: 0})


def test_the_secret_is_in_no_repr() -> None:
    assert "secret" not in repr(CacheRules(["small"], secret=b"s" * 16))
