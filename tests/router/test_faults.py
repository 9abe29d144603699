"""What an error of any client is, and what follows from it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.errors import (
    AnswerRejected,
    BadRequest,
    ChatModelError,
    ContentFiltered,
    ContextOverflow,
    ModelMissing,
    OutOfMemory,
    ProviderAuth,
    ProviderError,
    ProviderLimited,
    ProviderTimeout,
    ProviderUnavailable,
)
from rag_memory_plugins.router.faults import fault_of, provider_error, response_error

openai = pytest.importorskip("openai")


def said(status, message="", headers=None, **more):
    body = json.dumps({"error": {"message": message, **more}})
    return response_error(status, headers or {}, body, "big", lambda: 0.0)


@pytest.mark.parametrize(
    ("status", "message", "code", "kind"),
    [
        (429, "Rate limit reached", "rate_limit_exceeded", ProviderLimited),
        (429, "You exceeded your current quota", "insufficient_quota", ProviderLimited),
        (429, "Request too large for model: Limit 7000, Requested 7895", "x", ContextOverflow),
        (413, "Request too large: Limit 7000", "rate_limit_exceeded", ContextOverflow),
        (413, "", "", ContextOverflow),
        (400, "Too many tokens, please wait", "ThrottlingException", ProviderLimited),
        (403, "Quota exceeded", "rateLimitExceeded", ProviderLimited),
        (402, "Insufficient credits", 402, ProviderLimited),
        (400, "", "context_length_exceeded", ContextOverflow),
        (400, "prompt is too long: 300000 tokens > 200000 maximum", "", ContextOverflow),
        (400, "the request exceeds the available context size", "", ContextOverflow),
        (400, "", "content_filter", ContentFiltered),
        (403, "requires moderation, and your input was flagged", 403, ContentFiltered),
        (400, "Unknown parameter: 'safety_identifier'", "", BadRequest),
        (400, "'messages' is required", "", BadRequest),
        (404, "model not found", "model_not_found", ModelMissing),
        (422, "Unprocessable", "", BadRequest),
        (401, "Invalid API Key", "invalid_api_key", ProviderAuth),
        (403, "The project has no access", "", ProviderAuth),
        (408, "Request timeout", "", ProviderTimeout),
        (409, "Lock timeout", "", ProviderUnavailable),
        (500, "Internal Server Error", "", ProviderUnavailable),
        (500, "model requires more system memory (7.5 GiB) than is available", "", OutOfMemory),
        (500, "CUDA error: out of memory", "", OutOfMemory),
        (503, "The model is overloaded", "", ProviderUnavailable),
        (529, "Overloaded", "overloaded_error", ProviderUnavailable),
        (400, "The engine is temporarily unavailable", "", ProviderUnavailable),
        (307, "", "", ProviderUnavailable),
        (200, "no answer", "", ProviderUnavailable),
        (200, "Rate limit", 429, ProviderLimited),
        (200, "Code in digits", "429", ProviderLimited),
        (200, "Slow down", "rate_limit_exceeded", ProviderLimited),
        (200, "Bad key", 401, ProviderAuth),
    ],
)
def test_an_answer_of_http_is_the_error_it_stands_for(status, message, code, kind):
    assert type(said(status, message, code=code)) is kind


def test_what_a_providers_provider_said_decides_and_is_shown():
    raw = {"metadata": {"raw": "maximum context length is 8192 tokens", "provider_name": "X"}}
    error = said(400, "Provider returned error", **raw)
    assert isinstance(error, ContextOverflow)
    assert "8192" in str(error)


def test_headers_that_stand_in_the_body_tell_the_wait_and_real_ones_come_first():
    inside = {"metadata": {"headers": {"X-RateLimit-Reset": "30000000000000"}}}
    error = response_error(
        429, {}, json.dumps({"error": {"message": "no", **inside}}), "big", lambda: 29999999990.0
    )
    assert error.retry_after == 10.0
    assert said(429, "no", {"Retry-After": "2"}, **inside).retry_after == 2.0


@pytest.mark.parametrize(
    "body",
    ["", "nonsense", "[]", "{}", "null", '"text"', '{"error": null}', '{"error": "x"}',
     '{"error": {"metadata": 3, "code": {}}}', "[" * 100_000],
)  # fmt: skip
def test_any_body_is_read(body):
    assert isinstance(response_error(500, {}, body, "big"), ProviderUnavailable)


@given(st.integers(100, 599), st.text(), st.dictionaries(st.text(), st.text()))
def test_any_answer_is_some_error(status, body, headers):
    error = response_error(status, headers, body, "big")
    assert type(error) is not ProviderError
    assert str(status) in str(error)


class Answered:
    """As much of a response as an error keeps."""

    request = None

    def __init__(self, status, headers=None):
        self.status_code = status
        self.headers = headers or {}


def raised(kind, status=500, body=None):
    return kind("it went wrong", response=Answered(status), body=body)


STATUSES = {
    "APIStatusError": (500, ProviderUnavailable),
    "AuthenticationError": (401, ProviderAuth),
    "BadRequestError": (400, BadRequest),
    "ConflictError": (409, ProviderUnavailable),
    "InternalServerError": (500, ProviderUnavailable),
    "NotFoundError": (404, ModelMissing),
    "PermissionDeniedError": (403, ProviderAuth),
    "RateLimitError": (429, ProviderLimited),
    "UnprocessableEntityError": (422, BadRequest),
}
OTHERS = {
    "APIConnectionError": (lambda kind: kind(request=None), ProviderUnavailable),
    "APIError": (lambda kind: kind("no", None, body={"code": "server_error"}), ProviderUnavailable),
    "APIResponseValidationError": (
        lambda kind: kind(Answered(200), None),
        ProviderUnavailable,
    ),
    "APITimeoutError": (lambda kind: kind(request=None), ProviderTimeout),
    "ContentFilterFinishReasonError": (lambda kind: kind(), ContentFiltered),
    "LengthFinishReasonError": (lambda kind: kind.__new__(kind), AnswerRejected),
    "OAuthError": (lambda kind: kind(response=Answered(401), body=None), ProviderAuth),
    "OpenAIError": (lambda kind: kind("no"), ProviderError),
    "SubjectTokenProviderError": (lambda kind: kind("no"), ProviderAuth),
    # Of other parts of the library; no chat raises them.
    "InvalidWebhookSignatureError": (lambda kind: kind("no"), ProviderError),
    "WebSocketConnectionClosedError": (
        lambda kind: kind("no", unsent_messages=[]),
        ProviderError,
    ),
    "WebSocketQueueFullError": (lambda kind: kind("no"), ProviderError),
}


def client_errors():
    found = vars(openai._exceptions).values()
    return {
        value.__name__: value
        for value in found
        if isinstance(value, type)
        and issubclass(value, Exception)
        and not value.__name__.startswith("_")  # of the old way, by the module itself
    }


def test_every_exception_of_the_client_library_is_known_here():
    assert client_errors().keys() <= STATUSES.keys() | OTHERS.keys()


@pytest.mark.parametrize("name", sorted(client_errors()))
def test_an_exception_of_the_client_library_is_one_of_ours(name):
    kind = client_errors()[name]
    if name in STATUSES:
        status, ours = STATUSES[name]
        assert type(provider_error(raised(kind, status), "big")) is ours
    else:
        make, ours = OTHERS[name]
        assert type(provider_error(make(kind), "big")) is ours


def test_a_response_of_the_client_library_keeps_its_headers_and_its_body():
    error = openai.RateLimitError(
        "no", response=Answered(429, {"Retry-After": "2.5"}), body={"message": "slow down"}
    )
    ours = provider_error(error, "big")
    assert ours.retry_after == 2.5
    assert "slow down" in str(ours)


class ConnectTimeout(Exception):
    pass


class ConnectError(Exception):
    pass


class ReadError(Exception):
    pass


class ReadTimeout(Exception):
    pass


@pytest.mark.parametrize(
    ("cause", "kind", "values"),
    [
        (ConnectTimeout(), ProviderTimeout, {"stage": "connect"}),
        (ReadTimeout(), ProviderTimeout, {"stage": "first"}),
        (ConnectError("refused"), ProviderUnavailable, {"connected": False}),
        (ReadError(), ProviderUnavailable, {"connected": True}),
        (ConnectionRefusedError("no"), ProviderUnavailable, {"connected": False}),
        (ConnectionResetError("no"), ProviderUnavailable, {"connected": True}),
        (None, ProviderUnavailable, {"connected": False}),
    ],
)
def test_a_clients_connection_error_is_what_caused_it(cause, kind, values):
    error = openai.APIConnectionError(request=None)
    error.__cause__ = cause
    ours = provider_error(error, "big")
    assert type(ours) is kind
    assert {name: getattr(ours, name) for name in values} == values
    if cause is not None:
        assert type(cause).__name__ in str(ours)


def test_what_was_handled_when_an_error_was_raised_from_none_is_not_its_cause():
    error = KeyError("a bug of ours")
    error.__context__ = ReadTimeout()
    assert type(provider_error(error, "big")) is ProviderTimeout
    error.__suppress_context__ = True
    assert type(provider_error(error, "big")) is ProviderError


def test_our_own_error_is_handed_on_even_when_a_framework_wrapped_it():
    ours = ProviderLimited("slow", retry_after=3.0)
    wrapped = RuntimeError("the model failed")
    wrapped.__cause__ = ours
    assert provider_error(ours, "big") is ours
    assert provider_error(wrapped, "big") is ours
    assert isinstance(provider_error(ChatModelError("no answer"), "big"), ProviderUnavailable)


@pytest.mark.parametrize(
    ("error", "moves_on", "trips", "cool_down"),
    [
        (ProviderLimited("x", retry_after=7.0), True, "at once", 7.0),
        (ProviderLimited("x"), True, "at once", 60.0),
        (ProviderTimeout("x", stage="first"), True, "at once", None),
        (ProviderTimeout("x", stage="between"), True, "counts", None),
        (ProviderUnavailable("x", connected=False), True, "at once", None),
        (ProviderUnavailable("x"), True, "counts", None),
        (ProviderUnavailable("x", retry_after=5.0), True, "at once", 5.0),
        (OutOfMemory("x"), True, "unknown", None),
        (AnswerRejected("x"), True, "well", None),
        (ContextOverflow("x"), True, "well", None),
        (ContentFiltered("x"), False, "well", None),
        (ProviderAuth("x"), False, "well", None),
        (BadRequest("x"), False, "well", None),
        (ProviderError("x"), False, "unknown", None),
    ],
)
def test_what_follows_from_an_error(error, moves_on, trips, cool_down):
    fault = fault_of(error)
    assert (fault.moves_on, fault.trips, fault.cool_down) == (moves_on, trips, cool_down)
