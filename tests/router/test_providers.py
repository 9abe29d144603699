"""Presets: what an entry of a router knows of a model before it is asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rag_memory_plugins.chat import ChatRequest
from rag_memory_plugins.errors import InvalidInput, NoModelFits
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.router.addresses import is_loopback
from rag_memory_plugins.router.models import HealthChecked, Price, StreamingChatModel
from rag_memory_plugins.router.prices import price_of
from rag_memory_plugins.router.providers import (
    default_models,
    groq,
    openai_compatible,
    openrouter,
)
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.types import Message


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in ("GROQ_API_KEY", "OPENROUTER_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    price_of.cache_clear()


def health(model):
    return get_portal().call(model.chat.ahealth())


def test_presets_are_cloud_models_that_stream_and_know_their_window():
    for make, provider in ((groq, "groq"), (openrouter, "openrouter")):
        model = make("llama-3.3-70b-versatile", "secret")
        assert (model.provider, model.model) == (provider, "llama-3.3-70b-versatile")
        assert model.name == f"{provider}/llama-3.3-70b-versatile"
        assert model.window == 131_072
        assert not model.local
        assert model.chat.always_streams
        assert isinstance(model.chat, StreamingChatModel)
        assert isinstance(model.chat, HealthChecked)


def test_a_server_of_this_machine_is_local_and_costs_nothing():
    model = openai_compatible("http://localhost:8080/v1", "my-model")
    assert model.local
    assert model.price == Price()
    assert model.window is None
    assert not model.chat.always_streams
    assert not openai_compatible("https://example.com/v1", "my-model").local


def test_what_you_know_better_is_taken():
    model = groq("m", "secret", name="fast", window=10, price=Price(1, 2), quality=0.9)
    assert (model.name, model.window, model.price, model.quality) == ("fast", 10, Price(1, 2), 0.9)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:1/v1", True),
        ("http://127.8.9.10", True),
        ("http://[::1]:8080/v1", True),
        ("http://[::ffff:127.0.0.1]/v1", True),
        ("http://LOCALHOST/v1", True),
        ("http://user:pass@localhost:1", True),
        ("http://0.0.0.0:1", False),
        ("http://192.168.0.2:11434", False),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://127.0.0.1@example.com/", False),
        ("http://2130706433/", False),
    ],
)
def test_loopback_is_told_by_the_host(url, local):
    assert is_loopback(url) is local


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8080", "ftp://localhost", "http://", "http://[::1", "http://localhost:x", None],
)
def test_a_base_url_that_is_none_is_refused(url):
    with pytest.raises(InvalidInput, match="base_url"):
        openai_compatible(url, "m")


def test_a_missing_key_is_told_without_asking_anybody(monkeypatch):
    assert health(groq("m")) == "no key: set GROQ_API_KEY or pass api_key="
    assert health(openrouter("m")) == "no key: set OPENROUTER_API_KEY or pass api_key="
    assert "OPENAI_API_KEY" in health(openai_compatible("https://api.openai.com/v1", "gpt-4o"))
    assert health(openai_compatible("https://example.com/v1", "m")) == ""
    assert health(groq("m", "secret")) == ""
    monkeypatch.setenv("GROQ_API_KEY", "secret")
    assert health(groq("m")) == ""


def test_entries_of_one_account_and_model_fail_together_and_their_key_tells_no_secret():
    keys = [groq("m", key).key for key in ("one", "one", "two")]
    assert keys[0] == keys[1] != keys[2]
    assert "one" not in keys[0]


def test_a_password_in_a_url_is_not_shown():
    model = openai_compatible("http://ann:secret@localhost:8080/v1", "m")
    assert "secret" not in f"{model!r} {model.chat!r} {model.key}"


def test_the_price_of_a_known_model_is_that_of_its_provider():
    price = price_of("groq", "llama-3.3-70b-versatile")
    assert price is not None
    assert 0 < price.input < price.output
    assert price_of("openai", "gpt-4o-mini").cached < price_of("openai", "gpt-4o-mini").input
    name = "openai/gpt-4o-mini"
    assert price_of("openrouter", f"{name}:nitro") == price_of("openrouter", name)
    assert price_of("openrouter", "meta-llama/llama-3.3-70b-instruct:free") == Price()


def test_a_tiered_price_is_that_of_short_prompts():
    assert price_of("openrouter", "google/gemini-2.5-pro") is not None


@pytest.mark.parametrize(("provider", "model"), [("groq", "nothing"), ("nobody", "gpt-4o")])
def test_a_price_that_nobody_knows_is_none(provider, model):
    assert price_of(provider, model) is None


def test_without_the_extra_no_price_is_known(monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", None)
    price_of.cache_clear()
    assert groq("llama-3.3-70b-versatile", "secret").price is None
    price_of.cache_clear()


def test_an_entry_that_is_never_asked_imports_no_client_and_starts_no_thread():
    code = (
        "import sys, threading\n"
        "import asyncio\n"
        "from rag_memory_plugins.router.models import Price\n"
        "from rag_memory_plugins.router.providers import groq, openai_compatible\n"
        "openai_compatible('http://127.0.0.1:1/v1', 'm')\n"
        "cloud = groq('m', 'secret', price=Price(1, 2))\n"
        "assert asyncio.run(cloud.chat.ahealth()) == ''\n"
        "assert cloud.chat.tokens_left is None\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'openai', 'httpx', 'httpx2', 'genai_prices', 'numpy', 'pydantic'}\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_default_models_are_asked_in_their_order_as_far_as_there_are_keys(monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")  # nobody is there
    router = Router(default_models(), patience=0.0)
    request = ChatRequest((Message("user", "Hello"),))
    with pytest.raises(NoModelFits):
        router.answer(request)
    skipped = {item.model: item.reason for item in router.explain(request.id).rounds[0].skipped}
    assert [model.provider for model in router.models] == ["ollama", "groq", "openrouter"]
    assert "not running" in skipped["ollama/llama3.2"]
    assert "GROQ_API_KEY" in skipped["groq/llama-3.3-70b-versatile"]
    assert "OPENROUTER_API_KEY" in skipped["openrouter/meta-llama/llama-3.3-70b-instruct"]
