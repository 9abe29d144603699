"""`RouterLLM`: every way to ask it, what it sends on, and what it tells."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle

import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, LLMMetadata, TextBlock
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler, TokenCountingHandler
from llama_index.core.callbacks.schema import CBEventType
from llama_index.core.llms import MockLLM
from llama_index.core.llms.llm import LLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel

from rag_memory_plugins import Scope
from rag_memory_plugins.chat import Delta, ToolPiece, Usage
from rag_memory_plugins.errors import (
    AllModelsFailed,
    InvalidInput,
    NoModelFits,
    ProviderLimited,
    ProviderUnavailable,
    StreamInterrupted,
    UnknownArgument,
)
from rag_memory_plugins.llama_index import RouterLLM, as_chat_model
from rag_memory_plugins.router.models import Capabilities, Model
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.testing.models import ScriptedModel
from tests.llama_index.listening import listening, of
from tests.llama_index.scripted import ScriptedLLM, calling

HELLO = [ChatMessage("Hello?")]


class City(BaseModel):
    """A city."""

    name: str
    people: int


def weather(city: str) -> str:
    """Of a city."""
    return f"rain in {city}"


def clock() -> str:
    """The time."""
    return "noon"


WEATHER, CLOCK = FunctionTool.from_defaults(weather), FunctionTool.from_defaults(clock)
CITY = PromptTemplate("A city near {place}")


def routing(*models, **values):
    return RouterLLM(Router(list(models), patience=0.0), **values)


def scripted(name, *replies):
    return ScriptedModel(*replies, name=name)


def calls(*made):
    pieces = [
        ToolPiece(i, f"call_{i}", name, json.dumps(args)) for i, (name, args) in enumerate(made)
    ]
    return [Delta(tools=tuple(pieces)), Delta(finish="tool_calls")]


# Every way to ask

ASK = {
    "chat": lambda llm: llm.chat(HELLO),
    "achat": lambda llm: asyncio.run(llm.achat(HELLO)),
    "complete": lambda llm: llm.complete("Hello?"),
    "acomplete": lambda llm: asyncio.run(llm.acomplete("Hello?")),
    "chat_with_tools": lambda llm: llm.chat_with_tools([CLOCK], "Hello?"),
    "achat_with_tools": lambda llm: asyncio.run(llm.achat_with_tools([CLOCK], "Hello?")),
}


async def drained(waiting):
    return [part async for part in await waiting]


STREAM = {
    "stream_chat": lambda llm: list(llm.stream_chat(HELLO)),
    "astream_chat": lambda llm: asyncio.run(drained(llm.astream_chat(HELLO))),
    "stream_complete": lambda llm: list(llm.stream_complete("Hello?")),
    "astream_complete": lambda llm: asyncio.run(drained(llm.astream_complete("Hello?"))),
    "stream_chat_with_tools": lambda llm: list(llm.stream_chat_with_tools([CLOCK], "Hello?")),
    "astream_chat_with_tools": lambda llm: asyncio.run(
        drained(llm.astream_chat_with_tools([CLOCK], "Hello?"))
    ),
}


def text(response):
    return response.message.content if hasattr(response, "message") else response.text


@pytest.mark.parametrize("way", ASK)
@pytest.mark.parametrize("wrap", [False, True], ids=["core", "of LlamaIndex"])
def test_a_failing_first_model_is_passed_over(way, wrap):
    first, second = scripted("first", ProviderLimited("429")), scripted("second", "Good day.")
    models = [as_chat_model(routing(m), name=m.name) for m in (first, second)] if wrap else []
    response = ASK[way](routing(*(models or (first, second))))
    assert text(response) == "Good day."
    told = response.additional_kwargs["router"]
    assert told["model"] == "second"
    assert [(a["model"], a["outcome"]) for a in told["attempts"]] == [
        ("first", "failed"),
        ("second", "ok"),
    ]


@pytest.mark.parametrize("way", STREAM)
@pytest.mark.parametrize("wrap", [False, True], ids=["core", "of LlamaIndex"])
def test_before_the_first_piece_of_a_stream_the_next_model_takes_over(way, wrap):
    first = scripted("first", ProviderUnavailable("503"))
    second = scripted("second", [Delta("Good "), Delta("day."), Delta(finish="stop")])
    models = [as_chat_model(routing(m), name=m.name) for m in (first, second)] if wrap else []
    responses = STREAM[way](routing(*(models or (first, second))))
    assert [r.delta for r in responses if r.delta] == ["Good ", "day."]
    assert [text(r) for r in responses][:2] == ["Good ", "Good day."]
    assert text(responses[-1]) == "Good day."
    assert responses[-1].additional_kwargs["router"]["model"] == "second"


@pytest.mark.parametrize("way", STREAM)
def test_after_the_first_piece_a_stream_is_interrupted_and_nobody_else_asked(way):
    first = scripted("first", [Delta("Good "), ProviderUnavailable("cut")])
    second = scripted("second", "Never.")
    with pytest.raises(StreamInterrupted) as error:
        STREAM[way](routing(first, second))
    assert (error.value.text, second.requests) == ("Good ", [])


@pytest.mark.parametrize("way", [*ASK, *STREAM])
def test_when_all_fail_the_error_names_them(way):
    llm = routing(scripted("a", ProviderLimited("x")), scripted("b", ProviderLimited("y")))
    with pytest.raises(AllModelsFailed, match=r"x.*y"):
        (ASK | STREAM)[way](llm)


async def test_sync_methods_work_inside_a_running_loop():
    llm = routing(scripted("a", "one", "two"))
    assert llm.chat(HELLO).message.content == "one"
    assert [r.delta for r in llm.stream_chat(HELLO)] == ["two", ""]


# What it sends on


def test_messages_reach_a_model_of_llama_index_as_they_were():
    llm = ScriptedLLM("Yes.")
    chat = ChatMessage([TextBlock(text="a"), TextBlock(text="b")], additional_kwargs={"own": 1})
    routing(as_chat_model(llm)).chat([chat])
    assert llm.asked[0] == [chat]


def test_messages_reach_another_model_in_its_words():
    model = scripted("a", "Yes.")
    routing(model).chat([ChatMessage("Short.", role="developer"), *HELLO])
    assert [(m.role, m.content) for m in model.requests[0].messages] == [
        ("system", "Short."),
        ("user", "Hello?"),
    ]


def test_keyword_arguments_become_fields_of_the_request_or_options():
    model = scripted("a", "Yes.")
    routing(model).chat(HELLO, temperature=0.3, max_tokens=9, stop="END", seed=7, timeout=5.0)
    request = model.requests[0]
    assert (request.temperature, request.max_tokens, request.stop) == (0.3, 9, ("END",))
    assert (request.timeout, dict(request.options)) == (5.0, {"seed": 7})


@pytest.mark.parametrize(
    ("words", "choice"),
    [
        ({}, ""),
        ({"tool_required": True}, "required"),
        ({"tool_choice": "auto"}, "auto"),
        ({"tool_choice": "any"}, "required"),
        ({"tool_choice": "clock"}, "clock"),
        ({"tool_choice": {"type": "function", "function": {"name": "clock"}}}, "clock"),
    ],
)
def test_a_choice_of_tools_is_understood_in_every_form(words, choice):
    model = scripted("a", calls(("clock", {})))
    routing(model).chat_with_tools([WEATHER, CLOCK], "Hello?", **words)
    assert model.requests[0].tool_choice == choice


def test_images_are_only_for_models_that_see():
    seeing, blind = scripted("seeing", "A cat."), scripted("blind", "What?")
    chat = ChatMessage([TextBlock(text="What is it?"), ImageBlock(url="http://127.0.0.1/cat.png")])
    models = [Model(blind), Model(seeing, capabilities=Capabilities(vision=True))]
    assert routing(*models).chat([chat]).message.content == "A cat."
    with pytest.raises(NoModelFits, match="cannot see images"):
        routing(blind).chat([chat])


def test_a_long_prompt_goes_where_it_fits():
    small = Model(scripted("small", "Never."), window=100)
    large = Model(scripted("large", "Read."), window=100_000)
    assert routing(small, large).chat([ChatMessage("word " * 2_000)]).message.content == "Read."


def test_it_asks_on_its_scopes_behalf_unless_a_call_names_another():
    model = scripted("a", "Yes.")
    ann, bob = Scope("acme", "ann"), Scope("acme", "bob")
    llm = routing(model, scope=ann)
    llm.chat(HELLO)
    llm.chat(HELLO, scope=bob)
    assert [request.scope for request in model.requests] == [ann, bob]


def test_the_same_question_is_answered_from_the_routers_cache():
    model = scripted("a", "one", "two", "three")
    router = Router([model], patience=0.0, cache="exact")
    llm = RouterLLM(router, scope=Scope("acme", "ann"))
    said = [
        llm.chat(HELLO, seed=1),
        llm.chat(HELLO, seed=1),
        llm.chat(HELLO, seed=2),
        list(llm.stream_chat(HELLO, seed=1))[-1],
        llm.chat(HELLO, seed=1, scope=Scope("acme", "bob")),
    ]
    assert [r.message.content for r in said] == ["one", "one", "two", "one", "three"]
    assert [r.additional_kwargs["router"]["cached"] for r in said] == ["", "exact", "", "exact", ""]
    assert said[1].additional_kwargs["total_tokens"] == 0


# Tools


def test_a_call_that_has_to_be_made_and_is_not_is_asked_of_the_next_model():
    talker = scripted("talker", "I would rather talk.")
    caller = scripted("caller", calls(("weather", {"city": "Faro"})))
    llm = routing(talker, caller)
    response = llm.chat_with_tools([WEATHER], "Weather?", tool_required=True)
    (made,) = llm.get_tool_calls_from_response(response)
    assert (made.tool_name, made.tool_kwargs) == ("weather", {"city": "Faro"})
    assert response.additional_kwargs["router"]["attempts"][0]["outcome"] == "rejected"


def test_a_call_of_a_tool_that_was_not_chosen_is_none():
    first, second = (
        scripted("first", calls(("clock", {}))),
        scripted("b", calls(("weather", {"city": "Faro"}))),
    )
    llm = routing(first, second)
    response = llm.chat_with_tools([CLOCK, WEATHER], "?", tool_choice="weather")
    assert llm.get_tool_calls_from_response(response)[0].tool_name == "weather"


@pytest.mark.parametrize("bad", [("sing", {}), ("weather", {"town": "Faro"})])
def test_a_call_of_another_tool_or_with_other_arguments_is_none(bad):
    first = scripted("first", calls(bad))
    second = scripted("second", calls(("weather", {"city": "Faro"})))
    out = routing(first, second).predict_and_call([WEATHER], "Weather?", tool_required=True)
    assert out.response == "rain in Faro"


def test_one_call_alone_is_kept_where_several_are_not_allowed():
    both = calls(("clock", {}), ("weather", {"city": "Faro"}))
    llm = routing(scripted("a", both))
    for allowed, names in ((False, ["clock"]), (True, ["clock", "weather"])):
        response = llm.chat_with_tools([WEATHER, CLOCK], "?", allow_parallel_tool_calls=allowed)
        made = llm.get_tool_calls_from_response(response)
        assert [call.tool_name for call in made] == names


def test_calls_are_seen_while_they_are_streamed():
    parts = ['{"city": "Faro"', ', "day', '": "Monday"}']
    reply = [Delta(tools=(ToolPiece(0, "call_1", "weather"),))]
    reply += [Delta(tools=(ToolPiece(0, arguments=part),)) for part in parts]
    llm = routing(scripted("a", [*reply, Delta(finish="tool_calls")]))
    seen = [
        llm.get_tool_calls_from_response(response)[0].tool_kwargs
        for response in llm.stream_chat_with_tools([WEATHER], "Weather?")
    ]
    assert seen[0] == {}
    assert {"city": "Faro"} in seen
    assert seen[-1] == {"city": "Faro", "day": "Monday"}


def test_where_no_tool_is_called_that_is_said_or_nothing():
    llm = routing(scripted("a", "No."))
    response = llm.chat_with_tools([CLOCK], "?")
    assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="called no tool"):
        llm.get_tool_calls_from_response(response)


# Structured output

LISBON = {"name": "Lisbon", "people": 545_000}
PREDICT = {
    "structured_predict": lambda llm: llm.structured_predict(City, CITY, place="here"),
    "astructured_predict": lambda llm: asyncio.run(
        llm.astructured_predict(City, CITY, place="here")
    ),
    "as_structured_llm": lambda llm: llm.as_structured_llm(City).complete("A city").raw,
}


@pytest.mark.parametrize("way", PREDICT)
@pytest.mark.parametrize(
    "bad", ["Lisbon, I think.", calls(("City", {"name": "Lisbon"})), calls(("Town", LISBON))]
)
def test_a_prediction_that_is_none_is_asked_of_the_next_model(way, bad):
    first, second = scripted("first", bad), scripted("second", calls(("City", LISBON)))
    assert PREDICT[way](routing(first, second)) == City(**LISBON)
    assert (len(first.requests), len(second.requests)) == (1, 1)


@pytest.mark.parametrize("way", PREDICT)
@pytest.mark.parametrize("schema", [False, True], ids=["in words", "by a schema"])
def test_without_tools_a_prediction_is_made_of_text_and_judged_too(way, schema):
    can = Capabilities(tools=False, schema=schema)
    first, second = scripted("first", '{"name": "Lisbon"}'), scripted("second", json.dumps(LISBON))
    llm = routing(Model(first, capabilities=can), Model(second, capabilities=can))
    assert PREDICT[way](llm) == City(**LISBON)
    assert (second.requests[0].schema is not None) is schema


def test_the_mode_of_prediction_that_is_set_is_kept():
    model = scripted("a", json.dumps(LISBON))
    llm = routing(model, pydantic_program_mode=PydanticProgramMode.LLM)
    assert llm.structured_predict(City, CITY, place="here") == City(**LISBON)
    assert model.requests[0].tools == ()


@pytest.mark.parametrize("schema", [City, City.model_json_schema()], ids=["class", "JSON"])
def test_a_chat_may_be_held_to_a_schema(schema):
    first, second = scripted("first", "Lisbon"), scripted("second", json.dumps(LISBON))
    response = routing(first, second).chat(HELLO, schema=schema)
    assert json.loads(response.message.content) == LISBON
    assert set(second.requests[0].schema["properties"]) == {"name", "people"}


def test_a_schema_that_nobody_can_be_held_to_is_refused():
    model = Model(scripted("a", "x"), capabilities=Capabilities(schema=False))
    with pytest.raises(NoModelFits, match="structured output"):
        routing(model).chat(HELLO, schema=City.model_json_schema())


@pytest.mark.parametrize("words", [{"schema": "city"}, {"schema": City, "tools": [CLOCK]}])
def test_what_is_no_schema_is_refused_and_one_beside_tools_too(words):
    with pytest.raises(InvalidInput, match="schema"):
        routing(scripted("a", "x")).chat(HELLO, **words)


def test_a_streamed_prediction_grows():
    parts = ['{"name": "Lisbon"', ', "peo', 'ple": 545000}']
    reply = [Delta(tools=(ToolPiece(0, "call_1", "City"),))]
    reply += [Delta(tools=(ToolPiece(0, arguments=part),)) for part in parts]
    first = scripted("first", ProviderLimited("429"))
    llm = routing(first, scripted("second", [*reply, Delta(finish="tool_calls")]))
    seen = list(llm.stream_structured_predict(City, CITY, place="here"))
    assert ("Lisbon", None) in [(part.name, part.people) for part in seen]
    assert seen[-1] == City(**LISBON)


# What it tells


def test_tokens_are_told_in_the_words_of_openai():
    llm = routing(scripted("a", [Delta("Yes."), Delta(finish="stop", usage=Usage(20, 3))]))
    for response in (llm.chat(HELLO), list(llm.stream_chat(HELLO))[-1]):
        told = {k: v for k, v in response.additional_kwargs.items() if k.endswith("_tokens")}
        assert told == {"prompt_tokens": 20, "completion_tokens": 3, "total_tokens": 23}
        assert response.raw["usage"] == told


def test_a_token_counting_handler_counts_what_the_provider_said_once():
    counting = TokenCountingHandler(tokenizer=str.split)
    reply = [Delta("Yes."), Delta(finish="stop", usage=Usage(20, 3))]
    llm = routing(scripted("a", reply), callback_manager=CallbackManager([counting]))
    llm.chat(HELLO)
    list(llm.stream_chat(HELLO))
    llm.complete("Hello?")
    assert (counting.prompt_llm_token_count, counting.completion_llm_token_count) == (60, 9)


def test_a_response_of_llama_index_is_kept_as_its_model_made_it():
    inner = ScriptedLLM([("call_1", "clock", {})])
    response = routing(as_chat_model(inner)).chat_with_tools([CLOCK], "Time?")
    assert response.message.blocks == calling(("call_1", "clock", {})).blocks


def test_reasoning_is_told_as_agents_read_it():
    model = scripted("a", [Delta(reasoning="Hm."), Delta("Yes."), Delta(finish="stop")])
    llm = routing(model)
    streamed = [r.additional_kwargs.get("thinking_delta") for r in llm.stream_chat(HELLO)]
    assert streamed == ["Hm.", None, None]
    assert llm.chat(HELLO).additional_kwargs["thinking"] == "Hm."


def test_the_whole_decision_is_the_routers_to_explain():
    llm = routing(scripted("a", "Yes."))
    told = llm.chat(HELLO).additional_kwargs["router"]
    assert llm.router.explain(told["request_id"]).model == "a"
    assert json.loads(json.dumps(told)) == told


@pytest.mark.parametrize("way", [*ASK, *STREAM])
def test_a_call_is_told_of_once(way):
    debug = LlamaDebugHandler(print_trace_on_end=False)
    llm = routing(scripted("a", "Good day."), callback_manager=CallbackManager([debug]))
    with listening() as events:
        (ASK | STREAM)[way](llm)
    kind = "Completion" if "complete" in way else "Chat"
    assert len(of(events, f"LLM{kind}StartEvent")) == 1
    assert len(of(events, f"LLM{kind}EndEvent")) == 1
    assert len(debug.get_event_pairs(CBEventType.LLM)) == 1
    assert json.loads(json.dumps(of(events, f"LLM{kind}StartEvent")[0].model_dump(mode="json")))


def test_a_failed_call_is_told_of_too():
    debug = LlamaDebugHandler(print_trace_on_end=False)
    failing = scripted("a", ProviderLimited("429"))
    llm = routing(failing, callback_manager=CallbackManager([debug]))
    with pytest.raises(AllModelsFailed):
        llm.chat(HELLO)
    ((_, end),) = debug.get_event_pairs(CBEventType.LLM)
    assert isinstance(end.payload["exception"], AllModelsFailed)


class Ledger:
    """Keeps entries; `full` is set when there are three."""

    def __init__(self):
        self.entries = []
        self.full = asyncio.Event()

    def record(self, entry):
        self.entries.append(entry)
        if len(self.entries) == 3:
            self.full.set()

    async def aclose(self):
        pass


async def test_every_attempt_is_in_the_ledger_with_its_tenant():
    ledger = Ledger()
    models = [
        scripted("a", ProviderLimited("429")),
        scripted("b", [Delta("Yes."), Delta(", "), Delta(finish="stop")]),
    ]
    router = Router(models, patience=0.0, ledger=ledger)
    llm = RouterLLM(router, scope=Scope("acme", "ann"))
    await llm.achat(HELLO)
    stream = await llm.astream_chat(HELLO)
    await anext(stream)
    await stream.aclose()
    await asyncio.wait_for(ledger.full.wait(), 10)  # LlamaIndex leaves ours to the event loop
    rows = [(entry.tenant, entry.user, entry.model, entry.outcome) for entry in ledger.entries]
    assert rows == [
        ("acme", "ann", "a", "failed"),
        ("acme", "ann", "b", "ok"),
        ("acme", "ann", "b", "cancelled"),
    ]


# What others get wrong


class Lazy(ScriptedLLM):
    """Fails where integrations fail: not in the call, but at the first piece."""

    def stream_chat(self, messages, **kwargs):
        def parts():
            raise ConnectionResetError("reset")
            yield

        return parts()

    async def astream_chat(self, messages, **kwargs):
        async def parts():
            raise ConnectionResetError("reset")
            yield

        return parts()


@pytest.mark.parametrize("way", ["stream_chat", "astream_chat"])
def test_26067_a_stream_that_fails_at_its_first_piece_is_passed_over(way):
    llm = routing(as_chat_model(Lazy(), name="lazy"), scripted("second", "Good day."))
    assert text(STREAM[way](llm)[-1]) == "Good day."


@pytest.mark.parametrize("way", STREAM)
def test_5395_a_piece_without_content_settles_nothing(way):
    first = scripted("first", [Delta(model="x"), Delta(), ProviderUnavailable("cut")])
    assert text(STREAM[way](routing(first, scripted("second", "Good day.")))[-1]) == "Good day."


@pytest.mark.parametrize("way", STREAM)
def test_1797_a_stream_that_just_ends_is_no_answer(way):
    with pytest.raises(StreamInterrupted, match="cut off"):
        STREAM[way](routing(scripted("first", [Delta("Good ")]), scripted("second", "Never.")))


def test_19631_a_router_is_a_language_model_of_llama_index():
    assert isinstance(routing(scripted("a", "Yes.")), LLM)


# What it is


class Known(ScriptedLLM):
    @property
    def metadata(self):
        return LLMMetadata(context_window=16_000, is_function_calling_model=True, num_output=512)


def test_its_metadata_are_the_least_of_its_models():
    talker = Model(scripted("b", "x"), window=32_000, capabilities=Capabilities(tools=False))
    known = routing(as_chat_model(Known(), name="a"), talker).metadata
    assert (known.context_window, known.num_output) == (16_000, 512)
    assert (known.is_chat_model, known.is_function_calling_model) == (True, True)
    assert known.model_name == "router(a, b)"


def test_without_a_model_that_calls_tools_it_calls_none():
    assert not routing(as_chat_model(MockLLM())).metadata.is_function_calling_model


def test_only_models_that_may_be_asked_count():
    local = Model(scripted("a", "x"), local=True, window=2_000)
    llm = RouterLLM(Router([local, Model(scripted("b", "x"), window=9_000)], mode="cloud-only"))
    assert llm.metadata.context_window == 9_000


def test_a_copy_asks_the_same_router():
    llm = routing(scripted("a", "Yes."), system_prompt="Short.")
    for other in (copy.deepcopy(llm), copy.copy(llm)):
        assert other.router is llm.router
        assert other.system_prompt == "Short."
        assert other.chat(HELLO).message.content == "Yes."


def test_its_serialised_form_names_it_and_holds_no_connection():
    llm = routing(scripted("a", "Yes."), system_prompt="Short.")
    data = json.loads(json.dumps(llm.to_dict()))
    assert (data["class_name"], data["system_prompt"]) == ("RouterLLM", "Short.")
    assert "router" not in data


def test_what_was_pickled_says_that_it_needs_a_router():
    again = pickle.loads(pickle.dumps(routing(scripted("a", "Yes."))))
    with pytest.raises(InvalidInput, match="make a RouterLLM"):
        again.chat(HELLO)


@pytest.mark.parametrize(
    ("router", "values", "error", "match"),
    [
        (object(), {}, InvalidInput, r"pass a Router"),
        (Router([ScriptedModel()]), {"scope": "acme"}, InvalidInput, "Scope"),
        (Router([ScriptedModel()]), {"scop": None}, UnknownArgument, "did you mean 'scope'"),
    ],
)
def test_wrong_arguments_are_refused_by_name(router, values, error, match):
    with pytest.raises(error, match=match):
        RouterLLM(router, **values)


def test_no_messages_are_refused():
    with pytest.raises(InvalidInput, match="messages"):
        routing(scripted("a", "x")).chat([])


def test_what_are_no_tools_is_refused():
    with pytest.raises(InvalidInput, match="tools"):
        routing(scripted("a", "x")).chat(HELLO, tools=["clock"])
