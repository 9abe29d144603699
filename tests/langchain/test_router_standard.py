"""LangChain's own standard tests of `RouterChatModel`, none of them overridden.

The integration tests ask a loopback server whose answers fit what was asked, after the first model
of the router was refused by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from rag_memory_plugins.langchain import RouterChatModel, as_chat_model
from rag_memory_plugins.langchain.chat_model import WrappedChatModel
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.testing import refusals
from rag_memory_plugins.testing.fault_server import FaultServer
from rag_memory_plugins.testing.models import ScriptedModel
from rag_memory_plugins.testing.plausible import plausible
from tests.langchain.over_http import HTTPChat

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


class TestRouterChatModelUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return RouterChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"router": Router([ScriptedModel("Hello")])}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        # A router has no key of its own, and its retries are the router's to set.
        return {"temperature": 0, "max_tokens": 100, "timeout": 60, "stop": []}


class OverHTTP(ChatModelIntegrationTests):
    __test__ = False
    server: FaultServer

    @pytest.fixture(autouse=True)
    def serving(self) -> Iterator[None]:
        with FaultServer(reply=plausible) as server:
            server.script(refusals.overloaded(), model="broken")
            self.server = server
            yield

    def entry(self, name: str) -> WrappedChatModel:
        return as_chat_model(HTTPChat(base_url=self.server.openai_url, model=name), name=name)

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return RouterChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"router": Router([self.entry(name) for name in ("broken", "small", "other")])}

    @property
    def model_override_value(self) -> str:
        return "other"

    # The tests of images fetch one from the internet; `test_router_model` has its own.

    @property
    def supports_json_mode(self) -> bool:
        return False  # the server fills a schema that it is sent, and json_mode sends none


class TestRouterChatModelToolCalling(OverHTTP):
    __test__ = True


class TestRouterChatModelJsonSchema(OverHTTP):
    __test__ = True

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "json_schema"}
