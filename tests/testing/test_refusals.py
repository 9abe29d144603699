"""Refusals, as OpenAI's own client raises them and as they stand on the wire."""

from __future__ import annotations

from datetime import datetime, timezone

import openai
import pytest

from rag_memory_plugins.testing import refusals
from rag_memory_plugins.testing.fault_replies import Refusal
from tests.testing.chats import OLLAMA, OPENAI, chat

RAISED = [
    (refusals.bad_request(), openai.BadRequestError, None),
    (refusals.context_exceeded(), openai.BadRequestError, "context_length_exceeded"),
    (refusals.content_filtered(), openai.BadRequestError, "content_filter"),
    (refusals.unauthorized(), openai.AuthenticationError, "invalid_api_key"),
    (refusals.out_of_credit(), openai.APIStatusError, "402"),
    (refusals.forbidden(), openai.PermissionDeniedError, "model_permission_denied"),
    (refusals.content_filtered(status=403), openai.PermissionDeniedError, "403"),
    (refusals.model_missing(), openai.NotFoundError, "model_not_found"),
    (refusals.too_large(), openai.APIStatusError, "rate_limit_exceeded"),
    (refusals.rate_limited(), openai.RateLimitError, "rate_limit_exceeded"),
    (refusals.server_error(), openai.InternalServerError, None),
    (refusals.overloaded(), openai.InternalServerError, None),
    (refusals.overloaded(529), openai.InternalServerError, None),
    (refusals.out_of_memory(), openai.InternalServerError, None),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("refusal", "error", "code"), RAISED)
async def test_a_refusal_is_raised_by_the_sdk_as_what_it_is(
    server, sdk, refusal: Refusal, error, code, stream: bool
) -> None:
    server.script(refusal)
    with pytest.raises(error) as raised:
        await sdk.chat.completions.create(**chat(stream=stream))
    assert raised.value.status_code == refusal.status
    assert raised.value.code == code
    assert refusal.message in raised.value.message


async def test_a_refusal_of_ollama_is_its_message_alone(server, client) -> None:
    server.script(refusals.model_missing("gemma3"))
    response = await client.post(OLLAMA, json=chat())
    assert (response.status_code, response.json()) == (404, {"error": "model 'gemma3' not found"})


@pytest.mark.parametrize(
    ("refusal", "headers"),
    [
        (refusals.rate_limited(retry_after_ms=1500), {"retry-after-ms": "1500"}),
        (refusals.rate_limited(retry_after=7), {"retry-after": "7"}),
        (refusals.rate_limited(retry_after=2.5), {"retry-after": "2.5"}),
        (
            refusals.rate_limited(retry_after=datetime(2026, 11, 21, 8, tzinfo=timezone.utc)),
            {"retry-after": "Sat, 21 Nov 2026 08:00:00 GMT"},
        ),
        (
            refusals.rate_limited(reset_requests="6m0s"),
            {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"},
        ),
        (
            refusals.rate_limited(
                reset_tokens="7.66s", headers={"x-ratelimit-reset-requests": "2m59.56s"}
            ),
            {
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "7.66s",
                "x-ratelimit-reset-requests": "2m59.56s",
            },
        ),
        (refusals.rate_limited(try_again_in="5.289s"), {}),
    ],
    ids=["ms", "seconds", "fraction", "date", "requests", "tokens", "none"],
)
async def test_a_rate_limit_says_when_to_come_back_in_the_form_it_was_given(
    server, client, refusal: Refusal, headers: dict[str, str]
) -> None:
    server.script(refusal)
    response = await client.post(OPENAI, json=chat())
    assert response.status_code == 429
    sent = {
        name: value
        for name, value in response.headers.items()
        if name.startswith(("retry-after", "x-ratelimit"))
    }
    assert sent == headers


async def test_a_rate_limit_may_say_when_to_come_back_in_its_text_alone(server, client) -> None:
    server.script(refusals.rate_limited(try_again_in="5.289s"))
    error = (await client.post(OPENAI, json=chat())).json()["error"]
    assert error["message"].endswith("Please try again in 5.289s.")


async def test_a_moderation_error_of_openrouter_has_its_metadata(server, client) -> None:
    server.script(refusals.content_filtered(status=403))
    error = (await client.post(OPENAI, json=chat())).json()["error"]
    assert error["metadata"]["reasons"] == ["violence"]
