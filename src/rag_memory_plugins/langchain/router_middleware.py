"""A `Router` around the model calls of an agent: route, health, fallback, retry in one."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.language_models import BaseChatModel
from langgraph.runtime import Runtime

from rag_memory_plugins.errors import InvalidInput, ProviderTimeout, WouldDeadlock
from rag_memory_plugins.langchain.alone import langchain_model
from rag_memory_plugins.langchain.routed_call import Passing, Response, RoutedCall
from rag_memory_plugins.langchain.router_model import RouterChatModel
from rag_memory_plugins.langchain.watching import Watch
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.portal import get_portal, resolve, strict
from rag_memory_plugins.router.pieces import timeout_at
from rag_memory_plugins.router.router import Router

__all__ = ["RouterMiddleware"]

Naming: TypeAlias = Callable[[Runtime[Any]], Scope]


class RouterMiddleware(AgentMiddleware[Any, Any, Any]):
    """Asks the models of a `Router` in an agent of `create_agent`, each through the agent's own call.

    So tools, response format and the middleware behind this one are made for each model anew, and
    each streams what it says; once a piece was seen no other model takes over, and a failure raises
    `StreamInterrupted`. Cache marks, thoughts of another provider and settings that a model does not
    know are not handed on to it. `response_metadata["router"]` of the answer says who was asked.

    Pass `model` as the agent's own. Where a request has another model, somebody chose it: it is
    asked first, then the router's; `own` names the agent's model if it is not `model`. One that is
    not in the router has neither breaker nor ledger, and is refused if the router is local-only.
    `scope` says on whose behalf, or is a function of the runtime. An attempt may take its model's
    `Timeouts.total`, if the agent runs async.

    >>> from langchain.agents import create_agent
    >>> from rag_memory_plugins.errors import ProviderLimited
    >>> from rag_memory_plugins.testing.models import ScriptedModel
    >>> first = ScriptedModel(ProviderLimited("429"), name="first")
    >>> routing = RouterMiddleware(Router([first, ScriptedModel("Hello!", name="second")]))
    >>> agent = create_agent(routing.model, middleware=[routing])
    >>> agent.invoke({"messages": [("user", "Hi")]})["messages"][-1].text
    'Hello!'
    """

    @strict
    def __init__(
        self,
        router: Router,
        *,
        scope: Scope | Naming | None = None,
        own: BaseChatModel | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(router, Router):
            raise InvalidInput("router", type(router).__name__, "pass a Router")
        if not (scope is None or isinstance(scope, Scope) or callable(scope)):
            raise InvalidInput("scope", scope, "pass a Scope, or a function of the runtime")
        if own is not None and not isinstance(own, BaseChatModel):
            raise InvalidInput("own", type(own).__name__, "pass the agent's BaseChatModel")
        self.router = router
        self.model = RouterChatModel(router)
        """What to give to `create_agent`."""
        self._models = {entry.name: langchain_model(entry) for entry in router.candidates}
        self._scope = scope
        self._own = own
        self._name = name

    @property
    def name(self) -> str:
        """What LangChain tells middleware apart by."""
        return self._name or type(self).__name__

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> Response:
        """The answer of the first model that has one; `handler` runs on the agent's own thread."""
        call = self._call(request)
        jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

        async def ask(sent: ModelRequest[Any], watch: Watch, _: float) -> Response:
            loop = asyncio.get_running_loop()
            future: asyncio.Future[Response] = loop.create_future()

            def job() -> None:
                try:
                    with watch.listening():
                        answer = handler(sent)
                except Exception as error:  # judged where it was asked for
                    resolve(loop, future, None, error)
                except BaseException as error:  # Ctrl-C must not end the portal's thread
                    resolve(loop, future, None, Passing(error))
                else:
                    resolve(loop, future, answer, None)

            jobs.put(job)
            return await future

        portal = get_portal()
        portal.check()
        if portal.is_current_thread:
            raise WouldDeadlock("the agent runs on the portal's own thread; use its async methods")
        running = asyncio.run_coroutine_threadsafe(call.arun(ask), portal.loop)
        running.add_done_callback(lambda _: jobs.put(None))
        try:
            while (job := jobs.get()) is not None:
                job()
            return running.result()
        except Passing as passing:
            raise passing.error from passing.error.__cause__
        finally:
            running.cancel()

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> Response:
        """Async form of `wrap_model_call`."""

        async def ask(sent: ModelRequest[Any], watch: Watch, seconds: float) -> Response:
            loop = asyncio.get_running_loop()
            end = loop.time() + seconds
            try:
                async with timeout_at(end):
                    with watch.listening():
                        return await handler(sent)
            except (TimeoutError, asyncio.TimeoutError):  # two kinds on Python 3.10
                if loop.time() < end:
                    raise
                raise ProviderTimeout(f"no whole answer after {seconds:.3g} s") from None

        try:
            return await self._call(request).arun(ask)
        except Passing as passing:
            raise passing.error from passing.error.__cause__

    def _call(self, request: ModelRequest[Any]) -> RoutedCall:
        chosen, entry = self._chosen(request)
        return RoutedCall(
            self.router, self._models, request, self._scope_of(request), chosen, entry, self._own
        )

    def _chosen(self, request: ModelRequest[Any]) -> tuple[BaseChatModel | None, str]:
        """The model that somebody put in the place of the agent's own, and its entry's name."""
        model = request.model
        if model is self._own or (
            isinstance(model, RouterChatModel) and model.router is self.router
        ):
            return None, ""
        entry = next((name for name, known in self._models.items() if known is model), "")
        if entry and self._own is None:
            return None, ""
        if not entry and self.router.mode == "local-only":
            remedy = "the router is local-only, and this is no entry of it; make it a local one"
            raise InvalidInput("model", type(model).__name__, remedy)
        return model, entry

    def _scope_of(self, request: ModelRequest[Any]) -> Scope | None:
        if self._scope is None or isinstance(self._scope, Scope):
            return self._scope
        scope = self._scope(request.runtime)
        if not isinstance(scope, Scope):
            raise InvalidInput("scope", scope, "the function must give a Scope")
        return scope
