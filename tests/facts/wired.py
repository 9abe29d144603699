"""A chat model over HTTP on loopback that answers the labelled items of a prompt, by a script."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager

from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.router.openai_protocol import OpenAIChat
from rag_memory_plugins.testing.fault_replies import Answer
from rag_memory_plugins.testing.fault_server import FaultServer

ITEM = re.compile(r"^<item ([a-z]+)>\n(.*?)\n</item \1>\n", re.MULTILINE | re.DOTALL)


def items_of(request):
    """(label, item) of a request, each item as the JSON object that it is."""
    shown = request.messages[1]["content"]
    return [(label, json.loads(text)) for label, text in ITEM.findall(shown)]


def lines(pairs):
    return "\n".join(json.dumps({label: value}) for label, value in pairs)


@contextmanager
def wired(said):
    """(server, model): `said` makes the answer's text, or a whole reply, of a prompt's items."""

    def reply(request):
        answer = said(items_of(request))
        return Answer(answer) if isinstance(answer, str) else answer

    with FaultServer(reply=reply) as server:
        model = OpenAIChat(server.openai_url, "small")
        try:
            yield server, model
        finally:
            get_portal().call(model.aclose())


class Local:
    """A chat model in this process that answers a prompt's items by a function of them."""

    name = "local"

    def __init__(self, said):
        self.said = said
        self.calls = 0

    async def achat(self, messages, *, max_tokens=None):
        from rag_memory_plugins.types import Message

        self.calls += 1
        items = [(label, json.loads(text)) for label, text in ITEM.findall(messages[1].content)]
        return Message("assistant", self.said(items))

    async def aclose(self): ...
