"""Answers that fit what was asked, through OpenAI's own client."""

from __future__ import annotations

import json

import pytest

from rag_memory_plugins.testing.plausible import plausible
from tests.testing.chats import OLLAMA


def tool(name: str, **properties: dict) -> dict:
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


WEATHER = tool("get_weather", city={"type": "string"})
ADD = tool("add", a={"type": "integer"}, b={"type": "number"})


@pytest.fixture(autouse=True)
def server_with_sense(server):
    server.reply = plausible
    return server


async def ask(sdk, *messages: dict | str, **more):
    asked = [
        {"role": "user", "content": item} if isinstance(item, str) else item for item in messages
    ]
    answer = await sdk.chat.completions.create(model="small", messages=asked, **more)
    return answer.choices[0].message


def called(message) -> dict[str, dict]:
    return {
        call.function.name: json.loads(call.function.arguments) for call in message.tool_calls or ()
    }


async def test_a_tool_that_is_spoken_of_is_called_with_what_was_quoted(sdk) -> None:
    message = await ask(sdk, "What is the weather in 'Lisbon'?", tools=[ADD, WEATHER])
    assert called(message) == {"get_weather": {"city": "Lisbon"}}


async def test_numbers_of_the_question_are_arguments_in_order(sdk) -> None:
    message = await ask(sdk, "Please add 3 and 4.5", tools=[ADD])
    assert called(message) == {"add": {"a": 3, "b": 4.5}}


async def test_no_tool_is_called_when_none_is_spoken_of(sdk) -> None:
    message = await ask(sdk, "Good morning", tools=[ADD, WEATHER])
    assert (message.tool_calls, message.content) == (None, "Hello there.")


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("none", []),
        ("required", ["add"]),
        ({"type": "function", "function": {"name": "get_weather"}}, ["get_weather"]),
    ],
)
async def test_the_choice_of_a_tool_is_kept_to(sdk, choice, names: list[str]) -> None:
    message = await ask(sdk, "Add it", tools=[ADD, WEATHER], tool_choice=choice)
    assert list(called(message)) == names


async def test_after_a_tools_result_the_answer_repeats_it(sdk) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    messages = [
        "Add 1 and 2",
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "3"},
    ]
    message = await ask(sdk, *messages, tools=[ADD])
    assert (message.tool_calls, message.content) == (None, "The tool says: 3")


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "colour": {"enum": ["red", "blue"]},
        "size": {"anyOf": [{"type": "null"}, {"type": "integer"}]},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}},
    },
    "$defs": {"Part": {"type": "object", "properties": {"sound": {"type": ["null", "boolean"]}}}},
}
FILLED = {"name": "ball", "colour": "red", "size": 7, "parts": [{"sound": True}]}


async def test_a_schema_of_the_response_is_filled(sdk) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "Toy", "schema": SCHEMA}}
    message = await ask(sdk, "A 'ball' of size 7", response_format=wanted)
    assert json.loads(message.content) == FILLED


async def test_a_format_of_ollama_is_filled(client) -> None:
    messages = [{"role": "user", "content": "A 'ball' of size 7"}]
    body = {"model": "small", "messages": messages, "stream": False, "format": SCHEMA}
    answer = (await client.post(OLLAMA, json=body)).json()
    assert json.loads(answer["message"]["content"]) == FILLED


async def test_any_object_does_where_json_is_asked_for(sdk) -> None:
    message = await ask(sdk, "Say it", response_format={"type": "json_object"})
    assert json.loads(message.content) == {"answer": "something"}
