"""A router over scripted models: who is asked, who is not, and what is said about it."""

from __future__ import annotations

import asyncio

import pytest

from rag_memory_plugins.chat import ChatRequest, Delta, ToolPiece, ToolSpec, Usage
from rag_memory_plugins.errors import (
    AllModelsFailed,
    BadRequest,
    ContentFiltered,
    ContextOverflow,
    InvalidInput,
    ModelMissing,
    NoModelFits,
    OutOfMemory,
    ProviderAuth,
    ProviderError,
    ProviderLimited,
    ProviderTimeout,
    ProviderUnavailable,
)
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.router.models import Capabilities, Model, Price
from rag_memory_plugins.router.policy import RoutePolicy
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.testing.models import ScriptedModel
from rag_memory_plugins.types import Message

HELLO = (Message("user", "Hello"),)


def model(name, *replies, **values):
    return Model(ScriptedModel(*(replies or (f"I am {name}",)), name=name), name, **values)


@pytest.fixture
def routed(time):
    def make(*models, **values):
        return Router(list(models), clock=time, now=time, sleep=time.sleep, **values)

    return make


def ask(router, messages=HELLO, **values):
    return router.answer(ChatRequest(messages, **values))


@pytest.mark.parametrize(
    "error",
    [
        ProviderTimeout("slow", stage="first"),
        ProviderTimeout("no connection", stage="connect"),
        ProviderUnavailable("503"),
        ProviderUnavailable("refused", connected=False),
        ProviderLimited("429"),
        OutOfMemory("does not fit"),
        ModelMissing("404"),
        ConnectionError("reset"),
    ],
    ids=lambda error: f"{type(error).__name__} {error}",
)
def test_what_passes_moves_on_to_the_next(routed, error):
    router = routed(model("a", error), model("b"))
    assert ask(router).model == "b"


@pytest.mark.parametrize(
    "error",
    [ProviderAuth("401"), BadRequest("400"), ContentFiltered("no"), ProviderError("what is this")],
    ids=lambda error: type(error).__name__,
)
def test_what_another_cannot_do_better_is_raised(routed, error):
    other = model("b")
    router = routed(model("a", error), other)
    with pytest.raises(type(error), match=str(error)):
        ask(router)
    assert other.chat.requests == []


def test_an_overflow_moves_on_to_a_larger_window_only(routed):
    small = model("small", "no", window=4_000)
    large = model("large", window=32_000)
    router = routed(model("a", ContextOverflow("too long"), window=8_000), small, large)
    answer = ask(router)
    assert answer.model == "large"
    assert small.chat.requests == []


def test_an_overflow_without_a_larger_window_is_raised(routed):
    router = routed(model("a", ContextOverflow("too long"), window=8_000), model("b", window=8_000))
    with pytest.raises(ContextOverflow, match="too long"):
        ask(router)


def test_out_of_memory_asks_the_same_model_again_while_it_has_a_smaller_variant(routed, ledger):
    larger = OutOfMemory("7.5 GiB", smaller=True)
    router = routed(model("a", larger, larger, "it fits"), model("b"), ledger=ledger)
    assert ask(router).message.content == "it fits"
    assert [(e.model, e.outcome) for e in ledger.entries] == [
        ("a", "failed"), ("a", "failed"), ("a", "ok"),
    ]  # fmt: skip


def test_a_failed_model_is_left_alone_by_later_requests(routed):
    dead = model("a", ProviderUnavailable("refused", connected=False))
    router = routed(dead, model("b"))
    for _ in range(20):
        assert ask(router).model == "b"
    assert len(dead.chat.requests) == 1


def test_a_limited_model_is_asked_again_after_what_its_provider_said(routed, time):
    limited = model("a", ProviderLimited("429", retry_after=30.0), "back")
    router = routed(limited, model("b"))
    assert ask(router).model == "b"
    time.seconds += 29
    assert ask(router).model == "b"
    time.seconds += 2
    assert ask(router).model == "a"


def test_when_all_are_limited_it_waits_for_the_first_to_come_back(routed, time):
    router = routed(
        model("a", ProviderLimited("429", retry_after=12.0), "a is back"),
        model("b", ProviderLimited("429", retry_after=7.0), "b is back"),
    )
    assert ask(router).message.content == "b is back"
    assert time.slept == [7.0]


def test_it_does_not_wait_beyond_its_patience(routed, time):
    router = routed(model("a", ProviderLimited("429", retry_after=60.0)), patience=20.0)
    with pytest.raises(AllModelsFailed, match=r"ask again in 60\.0 s") as caught:
        ask(router)
    assert time.slept == []
    assert caught.value.retry_after == 60.0
    assert [type(error) for error in caught.value.errors] == [ProviderLimited]


def test_every_attempt_is_within_one_deadline(routed, time):
    def slow():
        time.seconds += 4.0
        return ProviderUnavailable("503")

    class Slow(ScriptedModel):
        async def astream(self, request):
            self.requests.append(request)
            raise slow()
            yield  # a generator

    models = [Model(Slow(name=name), name) for name in "abcdefgh"]
    router = routed(*models, timeout=10.0)
    with pytest.raises(AllModelsFailed):
        ask(router)
    assert [len(each.chat.requests) for each in models] == [1, 1, 1, 0, 0, 0, 0, 0]


def test_an_answer_cut_off_is_no_answer(routed):
    router = routed(model("a", [Delta("The answer is")]), model("b"))
    assert ask(router).model == "b"


def test_half_a_tool_call_is_rejected_and_another_model_asked(routed, ledger):
    half = [Delta(tools=(ToolPiece(0, "1", "weather", '{"city": "Li'),), finish="tool_calls")]
    tools = (ToolSpec("weather"),)
    router = routed(model("a", half), model("b"), ledger=ledger)
    assert ask(router, tools=tools).model == "b"
    assert [e.outcome for e in ledger.entries] == ["rejected", "ok"]


def test_an_answer_that_does_not_match_the_schema_is_rejected(routed):
    schema = {"type": "object", "required": ["city"]}
    router = routed(
        model("a", "Lisbon, of course"), model("b", '{"town": 1}'), model("c", '{"city": "Lisbon"}')
    )
    assert ask(router, schema=schema).model == "c"


def test_an_answer_of_no_use_to_the_asker_is_rejected(routed):
    def accept(answer):
        if "a" in answer.model:
            raise ValueError("not from a")

    router = routed(model("a"), model("b"))
    assert ask(router, accept=accept).model == "b"


def test_a_rejected_answer_does_not_open_the_breaker(routed):
    first = model("a", "no json", '{"ok": 1}')
    router = routed(first, model("b", '{"b": 1}'))
    schema = {"type": "object"}
    assert ask(router, schema=schema).model == "b"
    assert ask(router, schema=schema).model == "a"


@pytest.mark.parametrize(
    ("values", "able"),
    [
        ({"tools": (ToolSpec("weather"),)}, Capabilities(tools=True)),
        ({"schema": {"type": "object"}}, Capabilities(schema=True)),
    ],
    ids=["tools", "schema"],
)
def test_only_those_are_asked_that_can(routed, values, able):
    unable = model("a", capabilities=Capabilities(tools=False, schema=False))
    router = routed(unable, model("b", '{"x": 1}', capabilities=able))
    assert ask(router, **values).model == "b"
    assert unable.chat.requests == []


def test_nobody_can(routed):
    router = routed(model("a", capabilities=Capabilities(tools=False)))
    with pytest.raises(NoModelFits, match="a: it cannot call tools"):
        ask(router, tools=(ToolSpec("weather"),))


def test_a_short_prompt_is_asked_of_the_local_model_and_a_long_one_of_the_cloud(routed):
    router = routed(model("cloud"), model("here", local=True))
    assert ask(router).model == "here"
    assert ask(router, (Message("user", "word " * 3_100),)).model == "cloud"


def test_the_prompt_of_exactly_the_limit_is_counted_and_goes_local(routed):
    router = routed(model("here", local=True), model("cloud"), policy=RoutePolicy(local_tokens=100))
    decisions = []
    for words in (70, 130):
        request = ChatRequest((Message("user", "word " * words),))
        router.answer(request)
        decisions.append(
            (router.explain(request.id).asks[0].tokens <= 100, router.explain(request.id).model)
        )
    assert decisions == [(True, "here"), (False, "cloud")]


def test_a_script_of_more_tokens_a_character_is_counted(routed):
    router = routed(model("here", local=True), model("cloud"))
    assert ask(router, (Message("user", "记忆" * 2_000),)).model == "cloud"


def test_local_only_asks_no_other(routed):
    cloud = model("cloud")
    router = routed(cloud, model("here", OutOfMemory("x"), local=True), mode="local-only")
    with pytest.raises(AllModelsFailed):
        ask(router)
    assert cloud.chat.requests == []


def test_cloud_only_asks_no_local_one(routed):
    here = model("here", local=True)
    router = routed(here, model("cloud"), mode="cloud-only")
    assert ask(router).model == "cloud"
    assert here.chat.requests == []


def test_a_policy_cannot_lead_out_of_the_mode(routed):
    class Everybody(RoutePolicy):
        def rank(self, ask, candidates):
            assert [candidate.model.name for candidate in candidates] == ["here"]
            return super().rank(ask, candidates)

    router = routed(
        model("cloud"), model("here", local=True), mode="local-only", policy=Everybody()
    )
    assert ask(router).model == "here"


def test_a_mode_without_models_is_refused(routed):
    with pytest.raises(InvalidInput, match="may be asked in mode 'local-only'"):
        routed(model("cloud"), mode="local-only")


def test_a_model_called_local_that_is_not_is_refused_in_local_only(routed):
    far = model("far", local=True)
    far.chat.loopback = False
    with pytest.raises(InvalidInput, match="local-only forbids"):
        routed(far, mode="local-only")


def test_two_models_of_one_name_are_refused(routed):
    with pytest.raises(InvalidInput, match="two have this name"):
        routed(model("a"), model("a"))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"mode": "local-frist"}, "did you mean 'local-first'"),
        ({"timeout": -1}, "timeout"),
        ({"polcy": None}, "did you mean 'policy'"),
    ],
)
def test_bad_options_are_refused(routed, values, match):
    with pytest.raises(InvalidInput, match=match):
        routed(model("a"), **values)


def test_a_framework_object_is_refused_by_naming_its_function():
    from langchain_core.language_models import FakeListChatModel

    with pytest.raises(InvalidInput, match=r"rag_memory_plugins\.langchain\.as_chat_model"):
        Router([FakeListChatModel(responses=["Hi"])])


def test_the_cheapest_is_asked_first_where_that_is_preferred(routed):
    router = routed(
        model("dear", price=Price(5.0, 15.0)),
        model("cheap", price=Price(0.05, 0.1)),
        policy=RoutePolicy(prefer="cost"),
    )
    assert ask(router).model == "cheap"


def test_the_quickest_is_asked_first_once_all_were_tried(routed, time):
    class Takes(ScriptedModel):
        def __init__(self, name, seconds):
            super().__init__("ok", name=name)
            self.seconds = seconds

        async def astream(self, request):
            time.seconds += self.seconds
            async for delta in super().astream(request):
                yield delta

    router = routed(
        Model(Takes("slow", 3.0), "slow"),
        Model(Takes("quick", 0.5), "quick"),
        policy=RoutePolicy(prefer="latency"),
    )
    assert [ask(router).model for _ in range(4)] == ["slow", "quick", "quick", "quick"]


def test_hard_prompts_go_to_the_strongest_and_others_to_the_cheapest(routed):
    router = routed(
        model("strong", quality=0.9, price=Price(5.0, 15.0)),
        model("cheap", quality=0.3, price=Price(0.05, 0.1)),
        policy=RoutePolicy(prefer="quality"),
    )
    assert ask(router).model == "cheap"
    assert ask(router, (Message("user", "Prove that " * 200),)).model == "strong"


def test_usage_is_the_providers_or_counted(routed, ledger):
    said = [Delta("four words are here"), Delta(finish="stop", usage=Usage(100, 50, cached=20))]
    counted = [Delta("four words are here"), Delta(finish="stop")]
    router = routed(model("a", said, counted, price=Price(1.0, 2.0, cached=0.5)), ledger=ledger)
    ask(router)
    ask(router)
    first, second = ledger.entries
    assert (first.input_tokens, first.output_tokens, first.exact) == (100, 50, True)
    assert first.cost == 80_000 + 10_000 + 100_000  # billionths: 80 fresh, 20 kept, 50 said
    assert (second.output_tokens > 0, second.exact) == (True, False)


def test_the_ledger_says_for_whom_and_by_whom(routed, ledger):
    router = routed(model("a", ProviderLimited("429")), model("b", provider="groq"), ledger=ledger)
    answer = ask(router, scope=Scope("acme", "ann"))
    rows = [
        (e.request_id, e.number, e.tenant, e.user, e.provider, e.model, e.outcome)
        for e in ledger.entries
    ]
    assert rows == [
        (answer.request_id, 0, "acme", "ann", "scripted", "a", "failed"),
        (answer.request_id, 1, "acme", "ann", "groq", "b", "ok"),
    ]


def test_a_bound_router_counts_for_its_scope(routed, ledger):
    router = routed(model("a"), ledger=ledger)
    chat = router.bound(Scope("acme", "ann"))
    assert asyncio.run(chat.achat(HELLO)).content == "I am a"
    assert [(e.tenant, e.user) for e in ledger.entries] == [("acme", "ann")]


def test_explain_tells_who_was_asked_and_why_not(routed):
    router = routed(
        model("blind", capabilities=Capabilities(tools=False)),
        model("a", ProviderLimited("HTTP 429, slow down")),
        model("b"),
    )
    request = ChatRequest(HELLO, tools=(ToolSpec("weather"),))
    router.answer(request)
    text = str(router.explain(request.id))
    assert "not blind: it cannot call tools" in text
    assert "a failed" in text
    assert "slow down" in text
    assert "b ok" in text


def test_explain_of_an_unknown_request_is_refused(routed):
    with pytest.raises(InvalidInput, match="request_id"):
        routed(model("a")).explain("nobody")


def test_a_router_may_be_an_entry_of_a_router(routed):
    inner = routed(model("a", ProviderLimited("429")), model("b"))
    outer = routed(Model(inner, "inner"), model("c"))
    assert ask(outer).message.content == "I am b"


def test_requests_beyond_a_models_places_go_to_the_next():
    async def story():
        busy, release = asyncio.Event(), asyncio.Event()

        class Waits(ScriptedModel):
            async def astream(self, request):
                busy.set()
                await release.wait()
                async for delta in super().astream(request):
                    yield delta

        router = Router([Model(Waits("slow", name="a"), "a", concurrency=1), model("b")])
        first = asyncio.create_task(router.aanswer(ChatRequest(HELLO)))
        await busy.wait()
        second = await router.aanswer(ChatRequest(HELLO))
        release.set()
        return (await first).model, second.model

    assert asyncio.run(story()) == ("a", "b")


def test_requests_wait_for_a_place_where_there_is_no_other_model():
    async def story():
        running = most = 0

        class Counts(ScriptedModel):
            async def astream(self, request):
                nonlocal running, most
                running += 1
                most = max(most, running)
                await asyncio.sleep(0)
                async for delta in super().astream(request):
                    yield delta
                running -= 1

        router = Router([Model(Counts("ok", name="a"), "a", concurrency=2)], rounds=100)
        answers = await asyncio.gather(*[router.aanswer(ChatRequest(HELLO)) for _ in range(20)])
        return len(answers), most

    assert asyncio.run(story()) == (20, 2)


def test_a_hook_hears_of_each_attempt(routed):
    events = []
    router = routed(model("a", ProviderLimited("429")), model("b"), hooks=(events.append,))
    ask(router, scope=Scope("acme", "ann"))
    heard = [
        (e.name, e.scope, e.data["model"], e.data["outcome"])
        for e in events
        if e.name == "router.attempt"
    ]
    assert heard == [
        ("router.attempt", "acme/ann", "a", "failed"), ("router.attempt", "acme/ann", "b", "ok"),
    ]  # fmt: skip


def test_a_model_that_is_not_well_or_too_small_is_not_asked(routed):
    class Knows(ScriptedModel):
        async def ahealth(self):
            return self.unwell

        def fits(self, request):
            return "it does not fit" if len(request.messages) > 1 else ""

    chat = Knows("ok", name="here")
    chat.unwell = "not running"
    router = routed(Model(chat, "here", local=True), model("cloud"))
    answered = [ask(router).model]
    chat.unwell = ""
    answered += [ask(router).model, ask(router, HELLO * 2).model]
    assert answered == ["cloud", "here", "cloud"]


def test_a_model_that_is_not_there_is_the_error_where_there_is_no_other(routed):
    with pytest.raises(ModelMissing, match="404"):
        ask(routed(model("a", ModelMissing("404"))))


def test_answers_of_no_use_are_not_asked_for_again(routed, time):
    first, second = model("a", "no json"), model("b", "none either")
    router = routed(first, second)
    with pytest.raises(AllModelsFailed, match="no JSON"):
        ask(router, schema={"type": "object"})
    assert (len(first.chat.requests), len(second.chat.requests), time.slept) == (1, 1, [])


def test_a_provider_that_failed_is_asked_again_where_another_only_gave_a_useless_answer(routed):
    router = routed(model("a", "no json"), model("b", ProviderUnavailable("503"), '{"ok": 1}'))
    assert ask(router, schema={"type": "object"}).model == "b"
