"""What a router keeps behind every framework's interface, as tests to subclass.

A subject is anything that asks a router's models: the `Router` itself, LlamaIndex's and LangChain's
model over it. All get the same scripted models and must answer alike.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from rag_memory_plugins import errors
from rag_memory_plugins.chat import Delta
from rag_memory_plugins.router.models import Capabilities, Model
from rag_memory_plugins.testing.chat_scripts import (
    CITY,
    CLOCK,
    HELLO,
    LISBON,
    WEATHER,
    Filling,
    Reply,
    Said,
    Subject,
    called,
    given,
    spoken,
)
from rag_memory_plugins.testing.models import ScriptedModel
from rag_memory_plugins.types import Message, ToolCall

__all__ = ["ChatModelConformance"]


class ChatModelConformance:
    """Tests of tools, streams and structured output. Subclass it as `Test...` and say `subject`.

    Each test is a plain function that asks inside a loop of its own.

    >>> from rag_memory_plugins.chat import ChatRequest
    >>> from rag_memory_plugins.router.router import Router
    >>> class Core:
    ...     def __init__(self, models):
    ...         self.router = Router(models)
    ...     async def aask(self, messages, **asked):
    ...         answer = await self.router.aanswer(ChatRequest(messages, **asked))
    ...         return Said(answer.message.content, calls=answer.message.tool_calls)
    >>> class TestCore(ChatModelConformance):
    ...     def subject(self, *models):
    ...         return Core(models)
    >>> TestCore().test_a_text_is_answered()
    """

    def subject(self, *models: Model) -> Subject:
        """A subject over these models, which waits for none of them to recover."""
        raise NotImplementedError

    def _ask(self, *models: ScriptedModel | Model, messages: Any = HELLO, **asked: Any) -> Said:
        entries = [each if isinstance(each, Model) else Model(each) for each in models]

        async def ask() -> Said:
            return await self.subject(*entries).aask(messages, **asked)

        return asyncio.run(ask())

    def _fails(self, *models: ScriptedModel | Model, **asked: Any) -> errors.ChatModelError:
        try:
            said = self._ask(*models, **asked)
        except errors.ChatModelError as error:
            return error
        raise AssertionError(f"it answered: {said}")

    # Texts

    def test_a_text_is_answered(self) -> None:
        assert self._ask(ScriptedModel("Good day.")).text == "Good day."

    def test_a_text_is_streamed_as_it_comes(self) -> None:
        said = self._ask(ScriptedModel(spoken("Good ", "day", ".")), stream=True)
        assert [piece for piece in said.pieces if piece] == ["Good ", "day", "."]
        assert said.text == "Good day."

    def test_messages_reach_the_model_in_order_with_their_roles(self) -> None:
        model = ScriptedModel("Yes.")
        said = [("system", "Short."), ("user", "Is it?"), ("assistant", "Yes."), ("user", "So?")]
        self._ask(model, messages=[Message(role, text) for role, text in said])  # type: ignore[arg-type]
        assert [(each.role, each.content) for each in model.requests[0].messages] == said

    def test_an_answer_of_no_words_is_an_answer(self) -> None:
        for stream in (False, True):
            assert self._ask(ScriptedModel(spoken("")), stream=stream).text == ""

    def test_reasoning_is_no_part_of_the_text(self) -> None:
        reply: Reply = [Delta(reasoning="Hm."), *spoken("Yes.")]
        for stream in (False, True):
            assert self._ask(ScriptedModel(reply), stream=stream).text == "Yes."

    def test_a_stream_is_asked_for_as_one_and_an_answer_is_not(self) -> None:
        for stream in (False, True):
            model = ScriptedModel("Yes.")
            self._ask(model, stream=stream)
            assert model.requests[0].stream is stream

    # Tools

    def test_a_tool_is_described_to_the_model(self) -> None:
        for stream in (False, True):
            model = ScriptedModel("No need.")
            self._ask(model, tools=[WEATHER, CLOCK], stream=stream)
            weather, clock = model.requests[0].tools
            assert (weather.name, clock.name) == ("weather", "clock")
            assert weather.description == WEATHER.description
            assert weather.parameters["properties"]["city"]["type"] == "string"
            assert list(weather.parameters["required"]) == ["city"]

    def test_a_tool_is_called(self) -> None:
        reply = called(("call_7", "weather", '{"city": "Porto"}'))
        for stream in (False, True):
            said = self._ask(ScriptedModel(reply), tools=[WEATHER], stream=stream)
            assert given(said) == [("weather", {"city": "Porto"})]
            assert said.calls[0].id == "call_7"

    def test_calls_that_come_in_parts_are_put_together(self) -> None:
        calls = [("a", "weather", '{"city": "Évora"}'), ("b", "weather", '{"city": "Faro"}')]
        reply = called(*calls, parts=5)
        for stream in (False, True):
            said = self._ask(ScriptedModel(reply), tools=[WEATHER], stream=stream)
            assert [call.id for call in said.calls] == ["a", "b"]
            assert [given["city"] for _, given in given(said)] == ["Évora", "Faro"]

    def test_calls_without_ids_get_one_each(self) -> None:
        reply = called(("", "weather", '{"city": "Faro"}'), ("", "weather", '{"city": "Beja"}'))
        for stream in (False, True):
            calls = self._ask(ScriptedModel(reply), tools=[WEATHER], stream=stream).calls
            assert len({call.id for call in calls if call.id}) == 2

    def test_a_call_without_arguments_has_none(self) -> None:
        for stream in (False, True):
            reply = called(("call_1", "clock", ""))
            said = self._ask(ScriptedModel(reply), tools=[CLOCK], stream=stream)
            assert given(said) == [("clock", {})]

    def test_text_before_a_call_is_kept(self) -> None:
        reply: Reply = [
            Delta("Let me see. "),
            *called(("call_1", "clock", "{}")),
        ]
        for stream in (False, True):
            said = self._ask(ScriptedModel(reply), tools=[CLOCK], stream=stream)
            assert (said.text, given(said)) == ("Let me see. ", [("clock", {})])

    def test_calls_and_results_of_before_reach_the_model(self) -> None:
        model = ScriptedModel("Rain.")
        call = ToolCall("call_1", "weather", '{"city": "Porto"}')
        said = [
            Message("user", "Weather?"),
            Message("assistant", "", tool_calls=(call,)),
            Message("tool", "rain", tool_call_id="call_1"),
        ]
        self._ask(model, messages=said, tools=[WEATHER])
        _, asked, result = model.requests[0].messages
        (kept,) = asked.tool_calls
        assert (kept.id, kept.name, json.loads(kept.arguments)) == (
            "call_1", "weather", {"city": "Porto"},
        )  # fmt: skip
        assert (result.role, result.content, result.tool_call_id) == ("tool", "rain", "call_1")

    def test_a_call_that_has_to_be_made_is_asked_for(self) -> None:
        model = ScriptedModel(called(("call_1", "weather", '{"city": "Faro"}')))
        self._ask(model, tools=[WEATHER], tool_choice="required")
        assert model.requests[0].tool_choice == "required"

    def test_a_model_that_cannot_call_tools_is_passed_over(self) -> None:
        mute = ScriptedModel("I cannot.", name="mute")
        able = ScriptedModel(called(("call_1", "clock", "{}")), name="able")
        first = Model(mute, capabilities=Capabilities(tools=False))
        for stream in (False, True):
            said = self._ask(first, able, tools=[CLOCK], stream=stream)
            assert given(said) == [("clock", {})]
        assert mute.requests == []

    def test_half_a_call_is_no_call(self) -> None:
        half = ScriptedModel(called(("call_1", "weather", '{"city": "Lis')), name="half")
        whole = ScriptedModel(called(("call_2", "weather", '{"city": "Faro"}')), name="whole")
        said = self._ask(half, whole, tools=[WEATHER])
        assert given(said) == [("weather", {"city": "Faro"})]
        streamed = self._fails(half, whole, tools=[WEATHER], stream=True)
        assert isinstance(streamed, errors.StreamInterrupted)

    # Structured output

    def test_an_object_comes_back(self) -> None:
        for stream in (False, True):
            model = Filling(json.dumps(LISBON))
            assert self._ask(model, schema=CITY, stream=stream).value == LISBON

    def test_the_model_is_told_of_the_schema(self) -> None:
        model = Filling(json.dumps(LISBON))
        self._ask(model, schema=CITY)
        (request,) = model.requests
        known = request.schema if request.schema is not None else request.tools[0].parameters
        assert set(known["properties"]) == {"name", "people"}

    def test_an_object_that_is_none_is_asked_of_the_next_model(self) -> None:
        for bad in ("Lisbon, I think", '{"name": "Lisbon"}', '{"name": "Lisb', "[1, 2]"):
            first, second = Filling(bad, name="bad"), Filling(json.dumps(LISBON), name="good")
            assert self._ask(first, second, schema=CITY).value == LISBON, bad
            assert (len(first.requests), len(second.requests)) == (1, 1)

    def test_no_object_at_all_is_an_error(self) -> None:
        self._fails(Filling("Lisbon, I think"), schema=CITY)

    # Failures

    def test_before_the_first_piece_the_next_model_takes_over(self) -> None:
        failures: tuple[Exception, ...] = (
            errors.ProviderLimited("429"),
            errors.ProviderUnavailable("503"),
            errors.ProviderUnavailable("refused", connected=False),
            errors.ProviderTimeout("slow", stage="first"),
            ConnectionResetError("reset"),
        )
        for failure in failures:
            for stream in (False, True):
                first = ScriptedModel(failure, name="first")
                second = ScriptedModel("I am here.", name="second")
                assert self._ask(first, second, stream=stream).text == "I am here."
                assert (len(first.requests), len(second.requests)) == (1, 1)

    def test_the_next_model_gets_the_same_tools(self) -> None:
        for stream in (False, True):
            first = ScriptedModel(errors.ProviderLimited("429"), name="first")
            second = ScriptedModel(called(("call_1", "clock", "{}")), name="second")
            said = self._ask(first, second, tools=[CLOCK, WEATHER], stream=stream)
            assert given(said) == [("clock", {})]
            assert [tool.name for tool in second.requests[0].tools] == ["clock", "weather"]

    def test_the_next_model_gets_the_same_schema(self) -> None:
        for stream in (False, True):
            first = ScriptedModel(errors.ProviderUnavailable("503"), name="first")
            second = Filling(json.dumps(LISBON), name="second")
            assert self._ask(first, second, schema=CITY, stream=stream).value == LISBON

    def test_an_empty_piece_settles_nothing(self) -> None:
        begun: Reply = [Delta(), Delta(model="x"), errors.ProviderUnavailable("cut")]
        second = ScriptedModel("Yes.", name="second")
        assert self._ask(ScriptedModel(begun), second, stream=True).text == "Yes."

    def test_an_answer_without_an_end_is_asked_of_the_next_model(self) -> None:
        cut: Reply = [Delta("I was about to")]
        assert self._ask(ScriptedModel(cut), ScriptedModel("Yes.", name="b")).text == "Yes."

    def test_after_the_first_piece_a_stream_is_interrupted(self) -> None:
        tails: tuple[list[BaseException], ...] = (
            [],
            [errors.ProviderUnavailable("cut")],
            [OSError("gone")],
        )
        for tail in tails:
            broken: Reply = [Delta("I was "), Delta("about to"), *tail]
            second = ScriptedModel("Never.", name="second")
            error = self._fails(ScriptedModel(broken, name="first"), second, stream=True)
            assert isinstance(error, errors.StreamInterrupted)
            assert (error.text, error.model) == ("I was about to", "first")
            assert second.requests == []

    def test_after_the_first_piece_of_a_call_a_stream_is_interrupted(self) -> None:
        begun = called(("call_1", "weather", '{"city": "Lis'), finish="")
        broken: Reply = [*begun, errors.ProviderUnavailable("cut")]
        second = ScriptedModel("Never.", name="second")
        error = self._fails(ScriptedModel(broken), second, tools=[WEATHER], stream=True)
        assert isinstance(error, errors.StreamInterrupted)
        assert second.requests == []

    def test_what_no_model_could_do_better_is_raised_at_once(self) -> None:
        for stream in (False, True):
            second = ScriptedModel("Never.", name="second")
            error = self._fails(ScriptedModel(errors.BadRequest("x")), second, stream=stream)
            assert isinstance(error, errors.BadRequest)
            assert second.requests == []

    def test_when_all_fail_every_reason_is_told(self) -> None:
        for stream in (False, True):
            models = [
                ScriptedModel(errors.ProviderLimited(f"{name} is limited"), name=name)
                for name in "ab"
            ]
            error = self._fails(*models, stream=stream)
            assert not isinstance(error, (errors.ProviderError, errors.StreamInterrupted))
            assert "a is limited" in str(error)
            assert "b is limited" in str(error)

    def test_when_no_model_can_it_says_so(self) -> None:
        model = Model(ScriptedModel("Never."), capabilities=Capabilities(tools=False))
        for stream in (False, True):
            assert isinstance(self._fails(model, tools=[CLOCK], stream=stream), errors.NoModelFits)
