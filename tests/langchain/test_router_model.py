"""A router where LangChain expects a chat model."""

from __future__ import annotations

import copy
import json

import pytest
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, get_usage_metadata_callback
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_core.tracers.base import BaseTracer
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel

from rag_memory_plugins import Scope
from rag_memory_plugins.chat import Delta, ToolPiece, Usage
from rag_memory_plugins.errors import (
    AllModelsFailed,
    BadRequest,
    InvalidInput,
    ProviderLimited,
    ProviderUnavailable,
    StreamInterrupted,
    UnknownArgument,
)
from rag_memory_plugins.langchain import RouterChatModel, as_chat_model, attach
from rag_memory_plugins.router.models import Capabilities, Model
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.testing.models import ScriptedModel
from tests.langchain.faces import FACES, ask
from tests.langchain.scripted import ScriptedModel as Native
from tests.langchain.scripted import StreamingModel

LIMITED = ProviderLimited("429")
CUT = ProviderUnavailable("the connection was cut")
END = Delta(finish="stop")


def core(*replies, name, **values):
    return Model(ScriptedModel(*replies, name=name), name, **values)


def native(*replies, name, kind=Native):
    return as_chat_model(kind(*replies), name=name)


def routed(*models, **values):
    return RouterChatModel(Router(models, patience=0), **values)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("second", [core, native], ids=["of ours", "of LangChain"])
@pytest.mark.parametrize("first", [core, native], ids=["of ours", "of LangChain"])
async def test_another_model_answers_where_the_first_fails(face, first, second):
    model = routed(first(LIMITED, name="first"), second("Hello there", name="second"))
    answer = await ask(model, "Hi", face)
    assert (answer.text, type(answer).__name__[:9]) == ("Hello there", "AIMessage")
    decision = answer.response_metadata["router"]
    tried = [(each["model"], each["outcome"]) for each in decision["attempts"]]
    assert tried == [("first", "failed"), ("second", "ok")]
    assert decision["model"] == "second"


@pytest.mark.parametrize("face", ["stream", "astream"])
async def test_after_the_first_piece_nobody_takes_over_and_the_second_models_tokens_never_come(
    face,
):
    model = routed(core([Delta("Hel"), Delta("lo"), CUT], name="a"), core("Bonjour", name="b"))
    seen = []
    with pytest.raises(StreamInterrupted, match="the connection was cut") as caught:
        await ask(model, "Hi", face, seen)
    assert "".join(chunk.text for chunk in seen) == caught.value.text == "Hello"


@pytest.mark.parametrize("face", ["invoke", "ainvoke"])
async def test_an_answer_that_nobody_saw_break_off_is_asked_of_another(face):
    model = routed(core([Delta("Hel"), CUT], name="a"), core("Bonjour", name="b"))
    assert (await ask(model, "Hi", face)).text == "Bonjour"


@pytest.mark.parametrize("face", FACES)
async def test_what_another_could_not_do_better_is_raised_at_once(face):
    last = ScriptedModel("never asked", name="b")
    with pytest.raises(BadRequest):
        await ask(routed(core(BadRequest("no"), name="a"), last), "Hi", face)
    assert last.requests == []


@pytest.mark.parametrize("face", FACES)
async def test_usage_model_name_and_finish_come_with_the_answer(face):
    said = [Delta("Hi", model="big-1"), Delta(finish="length", usage=Usage(7, 2, cached=3))]
    answer = await ask(routed(Model(ScriptedModel(said), "a", model="big")), "Hello", face)
    assert answer.usage_metadata["input_tokens"] == 7
    assert answer.usage_metadata["output_tokens"] == 2
    assert answer.usage_metadata["input_token_details"] == {"cache_read": 3}
    assert answer.response_metadata["finish_reason"] == "length"
    assert answer.response_metadata["model_name"].startswith("big")


@pytest.mark.parametrize("face", FACES)
async def test_thoughts_come_as_langchains_reasoning(face):
    said = [Delta(reasoning="Hm."), Delta("Yes."), END]
    answer = await ask(routed(core(said, name="a")), "Really?", face)
    blocks = {block["type"]: block for block in answer.content_blocks}
    assert blocks["reasoning"]["reasoning"] == "Hm."
    assert answer.text == "Yes."


class Counting(BaseCallbackHandler):
    def __init__(self):
        self.heard = []

    def on_chat_model_start(self, *_, run_id, **__):
        self.heard.append("start")

    def on_llm_new_token(self, token, **_):
        if token:
            self.heard.append(token)

    def on_llm_end(self, *_, **__):
        self.heard.append("end")


@pytest.mark.parametrize("face", FACES)
async def test_callbacks_hear_one_run_though_a_model_of_langchain_runs_below(face):
    heard, model = Counting(), routed(native("Hello you", name="a", kind=StreamingModel))
    await ask(model, "Hi", face, config={"callbacks": [heard]})
    words = ["Hello ", "you"] if "stream" in face else []
    assert heard.heard == ["start", *words, "end"]


@pytest.mark.parametrize("face", FACES)
async def test_tokens_are_counted_once(face):
    usage = {"input_tokens": 5, "output_tokens": 1, "total_tokens": 6}
    said = AIMessage("Hi", usage_metadata=usage, response_metadata={"model_name": "m"})
    model = routed(native(said, name="a"))
    with get_usage_metadata_callback() as counted:
        await ask(model, "Hello", face)
    assert counted.usage_metadata["m"]["total_tokens"] == 6


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: sunny"


@pytest.mark.parametrize("face", FACES)
async def test_tools_are_called_whoever_answers(face):
    pieces = [
        Delta(tools=(ToolPiece(0, "c1", "weather", '{"ci'),)),
        Delta(tools=(ToolPiece(0, "", "", 'ty": "Rome"}'),)),
        Delta(finish="tool_calls"),
    ]
    ours = core(LIMITED, pieces, name="a")
    theirs = native([("c2", "weather", {"city": "Porto"})], name="b", kind=StreamingModel)
    model = routed(ours, theirs).bind_tools([weather], tool_choice="any")
    first = await ask(model, "Weather?", face)
    second = await ask(routed(core(pieces, name="a")).bind_tools([weather]), "Weather?", face)
    assert [call["args"] for call in first.tool_calls] == [{"city": "Porto"}]
    assert [call["args"] for call in second.tool_calls] == [{"city": "Rome"}]
    request = ours.chat.requests[0]
    assert (request.tools[0].name, request.tool_choice) == ("weather", "required")
    assert theirs.wrapped.schemas[0][0]["function"]["name"] == "weather"


@pytest.mark.parametrize("face", ["invoke", "ainvoke"])
async def test_a_tool_call_that_is_broken_is_asked_of_another(face):
    broken = AIMessage(
        "", invalid_tool_calls=[{"name": "weather", "args": "{", "id": "c1", "error": None}]
    )
    model = routed(native(broken, name="a"), native("It rains", name="b"))
    assert (await ask(model.bind_tools([weather]), "Weather?", face)).text == "It rains"


class Seen(Native):
    def bind_tools(self, tools, **kwargs):
        self._bound = [tools, kwargs]
        return self


async def test_a_model_of_langchain_gets_the_tools_and_messages_themselves():
    entry = native("Hi", name="a", kind=Seen)
    message = HumanMessage([{"type": "text", "text": "Look"}, {"type": "audio", "url": "a"}])
    await routed(entry).bind_tools([weather], tool_choice="weather").ainvoke([message])
    tools, kwargs = entry.wrapped.schemas[0]
    assert tools == [weather]
    assert kwargs == {"tool_choice": "weather"}
    assert entry.wrapped.asked[0][0].content == message.content


async def test_cache_marks_and_anothers_thoughts_are_not_sent_to_who_cannot_read_them():
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    said = [
        SystemMessage([{"type": "text", "text": "Short.", "cache_control": {"type": "ephemeral"}}]),
        HumanMessage("Hi"),
        AIMessage(
            [thought, {"type": "text", "text": "Hello"}],
            response_metadata={"model_provider": "anthropic"},
        ),
        HumanMessage("And?"),
    ]
    entry = native("Yes", name="a")
    await routed(entry).ainvoke(said)
    asked = entry.wrapped.asked[0]
    short = [{"type": "text", "text": "Short."}]
    assert [message.content for message in asked] == [short, "Hi", "Hello", "And?"]
    assert said[2].content[0] == thought


class Joke(BaseModel):
    setup: str
    punchline: str


GOOD = {"setup": "Why?", "punchline": "Because."}


def called(arguments, finish="tool_calls"):
    return [Delta(tools=(ToolPiece(0, "c1", "Joke", arguments),)), Delta(finish=finish)]


@pytest.mark.parametrize("face", ["invoke", "ainvoke"])
@pytest.mark.parametrize("bad", ['{"setup": "Why?"}', '{"setup"', "text"])
async def test_an_answer_that_does_not_parse_is_asked_of_another(face, bad):
    reply = "I will not" if bad == "text" else called(bad)
    model = routed(core(reply, name="bad"), native([("c1", "Joke", GOOD)], name="good"))
    assert await ask(model.with_structured_output(Joke), "Joke!", face) == Joke(**GOOD)


@pytest.mark.parametrize("face", ["invoke", "ainvoke"])
async def test_a_schema_is_sent_as_one_and_as_a_tool_where_a_model_has_none(face):
    ours = core('{"setup": "Why?"}', name="bad")
    theirs = native([("c1", "Joke", GOOD)], name="good")
    model = routed(ours, theirs).with_structured_output(Joke, method="json_schema")
    assert await ask(model, "Joke!", face) == Joke(**GOOD)
    assert ours.chat.requests[0].schema["required"] == ["setup", "punchline"]
    assert theirs.wrapped.schemas[0][0]["function"]["name"] == "Joke"


async def test_who_wants_the_raw_answer_gets_the_last_one_of_no_use():
    model = RouterChatModel(Router([core(called('{"setup": "Why?"}'), name="bad")], rounds=1))
    found = await model.with_structured_output(Joke, include_raw=True).ainvoke("Joke!")
    assert found["raw"].tool_calls[0]["args"] == {"setup": "Why?"}
    assert found["parsed"] is None
    assert "punchline" in str(found["parsing_error"])


async def test_when_nobodys_answer_parses_all_have_failed():
    model = RouterChatModel(Router([core(called('{"setup": "Why?"}'), name="bad")], rounds=1))
    with pytest.raises(AllModelsFailed, match="punchline"):
        await model.with_structured_output(Joke).ainvoke("Joke!")


def test_a_dict_schema_and_a_misspelt_method_or_keyword():
    schema = {"title": "Joke", "type": "object", "properties": {"setup": {"type": "string"}}}
    model = routed(core(called('{"setup": "Why?"}'), name="a"))
    assert model.with_structured_output(schema).invoke("Joke!") == {"setup": "Why?"}
    with pytest.raises(InvalidInput, match="did you mean 'json_schema'"):
        model.with_structured_output(schema, method="json_scheme")
    with pytest.raises(UnknownArgument, match="did you mean 'strict'"):
        model.with_structured_output(schema, stric=True)


class Tunable(Native):
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None

    def _generate(self, messages, stop=None, *_, **kwargs):
        self._schemas.append([self.temperature, self.max_tokens, self.top_p, stop, kwargs])
        return super()._generate(messages)


async def test_settings_of_a_call_reach_every_kind_of_model_that_knows_them():
    ours, theirs = core(LIMITED, name="a"), native("Hi", name="b", kind=Tunable)
    asked = {"temperature": 0.3, "max_tokens": 9, "top_p": 0.5, "seed": 4, "stop": ["\n"]}
    await routed(ours, theirs, temperature=1.0).ainvoke("Hi", **asked)
    request = ours.chat.requests[0]
    assert (request.temperature, request.max_tokens, request.stop) == (0.3, 9, ("\n",))
    assert request.options == {"top_p": 0.5, "seed": 4}
    known = next(each for each in theirs.wrapped.schemas if isinstance(each, list) and each)
    assert known[:4] == [0.3, 9, 0.5, ["\n"]]
    assert "seed" not in known[4]
    assert theirs.wrapped.temperature is None


def test_the_entry_that_a_call_names_is_asked_first():
    model = routed(core("one", name="a"), core("two", name="b"))
    assert model.invoke("Hi", model="b").text == "two"
    assert model.invoke("Hi").text == "one"
    with pytest.raises(InvalidInput, match="valid: a, b"):
        model.invoke("Hi", model="c")


def test_the_profile_is_what_all_hold_and_what_one_can_do():
    large = core("", name="a", window=8_000, capabilities=Capabilities(vision=True, tools=False))
    small = core("", name="b", window=4_000, capabilities=Capabilities(schema=False))
    profile = routed(large, small).profile
    assert profile["max_input_tokens"] == 4_000
    assert profile["tool_calling"]
    assert profile["image_inputs"]
    assert not profile["structured_output"]


def test_a_copy_of_a_model_shares_its_router():
    model = routed(core("Hi", name="a"))
    assert copy.deepcopy(model).router is model.router


@pytest.mark.parametrize("first", [core, native], ids=["of ours", "of LangChain"])
def test_an_agent_gets_tools_and_a_response_format_from_every_kind_of_model(first):
    calls = [
        Delta(tools=(ToolPiece(0, "c1", "Joke", json.dumps(GOOD)),)),
        Delta(finish="tool_calls"),
    ]
    reply = calls if first is core else [("c1", "Joke", GOOD)]
    model = routed(core(LIMITED, name="limited"), first(reply, name="a"))
    agent = create_agent(model, [weather], response_format=Joke)
    assert agent.invoke({"messages": [("user", "Joke!")]})["structured_response"] == Joke(**GOOD)


def test_an_entry_knows_of_itself_what_its_model_says():
    says = {"max_input_tokens": 1_000, "image_inputs": True, "structured_output": True}
    entry = Model(as_chat_model(Native().model_copy(update={"profile": says}), name="a"))
    assert entry.window == 1_000
    assert entry.capabilities.vision
    assert Model(entry.chat, window=5, capabilities=Capabilities()).window == 5


def test_images_go_to_a_model_that_sees():
    blind = core("never", name="a")
    seeing = core("A crane", name="b", capabilities=Capabilities(vision=True))
    picture = HumanMessage([{"type": "image_url", "image_url": {"url": "https://a.b/c.png"}}])
    assert routed(blind, seeing).invoke([picture]).text == "A crane"
    assert seeing.chat.requests[0].messages[0].images[0].url == "https://a.b/c.png"


@pytest.mark.parametrize("face", FACES)
async def test_inside_a_graph_the_answer_is_streamed_once(face):
    model = routed(native(LIMITED, name="a"), native("Hello you", name="b", kind=StreamingModel))

    async def node(state):
        return {"messages": [await ask(model, state["messages"], face)]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    asked = {"messages": [HumanMessage("Hi")]}
    chunks = [c async for c, _ in graph.compile().astream(asked, stream_mode="messages")]
    assert "".join(str(chunk.text) for chunk in chunks) == "Hello you"
    assert len({chunk.id for chunk in chunks}) == 1


def test_langchains_cache_keeps_tenants_apart():
    router, cache = Router([core("one", "two", name="a")]), InMemoryCache()
    acme = RouterChatModel(router, scope=Scope("acme", "ann"), cache=cache)
    globex = RouterChatModel(router, scope=Scope("globex", "bob"), cache=cache)
    said = [acme.invoke("Hi").text, acme.invoke("Hi").text, globex.invoke("Hi").text]
    assert said == ["one", "one", "two"]
    assert router.models[0].chat.requests[0].scope == Scope("acme", "ann")


@pytest.fixture
def process_cache():
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


@pytest.mark.usefixtures("process_cache")
def test_a_cache_of_the_whole_process_gives_no_tenant_anothers_answer():
    router = Router([native("for Ann", "for Bob", name="a")])
    ann = RouterChatModel(router, scope=Scope("acme", "ann"))
    bob = RouterChatModel(router, scope=Scope("globex", "bob"))
    assert [ann.invoke("Hi").text, bob.invoke("Hi").text] == ["for Ann", "for Bob"]
    assert ann.invoke("Hi").text == "for Ann"


def test_35170_bound_tools_keep_the_fallbacks_of_with_fallbacks():
    model = routed(core(BadRequest("no"), name="a"))
    backed = model.with_fallbacks([routed(core("From the second", name="b"))])
    assert backed.bind_tools([weather]).invoke("Hi").text == "From the second"
    backed = model.with_fallbacks(
        [routed(core(called('{"setup": "W", "punchline": "B"}'), name="b"))]
    )
    assert backed.with_structured_output(Joke).invoke("Hi") == Joke(setup="W", punchline="B")


def test_it_remembers_when_it_is_attached_to_a_memory(memory):
    ann = memory.conversation("acme", "ann", "monday")
    ann.add("I moved to Lisbon in May")
    entry = core("In Lisbon", name="a")
    assert attach(routed(entry), ann).invoke("Where do I live?").text == "In Lisbon"
    assert "moved to Lisbon" in str([m.content for m in entry.chat.requests[0].messages])
    assert ann.messages()[-1].content == "In Lisbon"


async def test_a_batch_is_answered_in_its_order():
    model = routed(core("Yes", name="a"))
    assert [a.text for a in await model.abatch(["1", "2", "3"])] == ["Yes"] * 3
    assert [a.text for a in model.batch(["1", "2", "3"])] == ["Yes"] * 3


class Drawing(BaseTracer):
    def __init__(self):
        super().__init__()
        self.roots = []

    def _persist_run(self, run):
        self.roots.append(run)


@pytest.mark.parametrize("face", ["invoke", "ainvoke"])
async def test_a_tracer_sees_the_entrys_run_below_the_routers(face):
    drawing, model = Drawing(), routed(native("Hi", name="a"))
    await ask(model, "Hello", face, config={"callbacks": [drawing]})
    (root,) = drawing.roots
    assert [root.name, *[run.name for run in root.child_runs]] == [
        "RouterChatModel",
        "ScriptedModel",
    ]


def test_with_retry_asks_again():
    model = routed(core(BadRequest("no"), "Yes", name="a"))
    assert model.with_retry(stop_after_attempt=2).invoke("Hi").text == "Yes"


def test_a_dead_primary_is_waited_for_once_and_not_on_every_call(time):
    dead = ScriptedModel(ProviderUnavailable("nobody there", connected=False), name="dead")
    router = Router([dead, ScriptedModel("Hi", name="alive")], now=time, clock=time)
    model = RouterChatModel(router)
    assert [model.invoke("Hello").text for _ in range(20)] == ["Hi"] * 20
    assert len(dead.requests) == 1


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"temprature": 1}, UnknownArgument, "did you mean 'temperature'"),
        ({"scope": "acme"}, InvalidInput, "pass a rag_memory_plugins.Scope"),
        ({"router": Native()}, InvalidInput, "pass a Router"),
    ],
)
def test_what_is_wrong_is_named(fields, error, said):
    with pytest.raises(error, match=said):
        RouterChatModel(**{"router": Router([ScriptedModel()]), **fields})
