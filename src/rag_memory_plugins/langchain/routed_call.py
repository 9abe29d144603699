"""One model call of an agent on its way through a router."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, TypeAlias

from langchain.agents.middleware import ExtendedModelResponse, ModelRequest, ModelResponse
from langchain.agents.structured_output import ProviderStrategy, StructuredOutputError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langgraph.errors import GraphBubbleUp

from rag_memory_plugins.chat import ChatRequest, Gathered
from rag_memory_plugins.errors import (
    AllModelsFailed,
    AnswerRejected,
    ProviderError,
    StreamInterrupted,
    shorten,
)
from rag_memory_plugins.langchain.asking import native_messages, spec_of, told_tools
from rag_memory_plugins.langchain.foreign import for_model, settings_for, tools_for
from rag_memory_plugins.langchain.watching import Watch
from rag_memory_plugins.langchain.writing import ROUTER, decided
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.router.answers import interrupted
from rag_memory_plugins.router.attempt import Attempt
from rag_memory_plugins.router.faults import fault_of, provider_error
from rag_memory_plugins.router.router import Router

__all__ = ["Passing", "Response", "RoutedCall"]

Response: TypeAlias = "ModelResponse[Any] | ExtendedModelResponse[Any] | AIMessage"


class Passing(BaseException):
    """Carries what is no model's failure through the router, which would judge an `Exception`."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


Ask: TypeAlias = Callable[[ModelRequest[Any], Watch, float], Awaitable[Response]]


@dataclass(frozen=True)
class RoutedCall:
    """One call of an agent's model on its way through the router.

    `chosen` is the model that somebody put in the place of the agent's `own`, `entry` its name in
    the router.
    """

    router: Router
    models: Mapping[str, BaseChatModel]
    request: ModelRequest[Any]
    scope: Scope | None
    chosen: BaseChatModel | None
    entry: str
    own: BaseChatModel | None

    async def arun(self, ask: Ask) -> Response:
        """The response, with the decision in its message. Raises `Passing` too."""
        if self.chosen is None or self.entry:
            return await self._routed(ask, None, self.router.timeout)
        began = monotonic()
        first = await self._stranger(ask)
        if not isinstance(first, ProviderError):
            return first
        left = max(self.router.timeout - (monotonic() - began), 0.001)
        return await self._routed(ask, first, left)

    async def _routed(self, ask: Ask, before: ProviderError | None, seconds: float) -> Response:
        """What the router's models answer, `before` whom a chosen model has failed."""
        asked = self._asked(seconds)

        async def attempt(taken: Attempt, left: float) -> Response:
            return await self._attempt(ask, taken, left)

        try:
            response = await self.router.aroute(asked, attempt)
        except AllModelsFailed as error:
            error.errors = (*([] if before is None else [before]), *error.errors)
            raise
        except ProviderError as error:
            if type(error) is ProviderError and error.__cause__ is not None:
                raise error.__cause__  # noqa: B904  # it is no provider's: raised as it was
            raise
        told = decided(self.router, asked.id)
        if before is not None:
            told["chosen"] = {"model": before.model, "error": str(before)}
        return _decided(response, told)

    async def _stranger(self, ask: Ask) -> Response | ProviderError:
        """What a model answers that is not in the router; its failure if another may do better."""
        watch = Watch(lambda: None, Gathered())
        name = type(self.chosen).__name__
        try:
            return await ask(self.request, watch, self.router.timeout)
        except GraphBubbleUp as error:
            raise Passing(error) from None
        except Exception as error:  # any client's; it goes on into the answer's metadata
            failure = provider_error(error, name)
            if not fault_of(failure).moves_on:
                raise
            if watch.seen:
                text = watch.gathered.text
                raise StreamInterrupted(f"it broke off: {failure}", text=text) from error
            failure.model = failure.model or name
            return failure

    async def _attempt(self, ask: Ask, taken: Attempt, seconds: float) -> Response:
        watch = Watch(taken.has_begun, taken.gathered)
        try:
            response = await ask(
                self._sent(taken.model.name), watch, min(seconds, taken.model.timeouts.total)
            )
            message = _answer_of(response)
            if message is not None and message.invalid_tool_calls and not watch.seen:
                name = message.invalid_tool_calls[0]["name"]
                raise AnswerRejected(f"{taken.model.name}: it calls {name} with broken arguments")
        except GraphBubbleUp as error:
            await taken.asettle("cancelled", error)
            raise Passing(error) from None
        except StructuredOutputError as error:
            if watch.seen:
                await taken.asettle("rejected", error)
                raise Passing(error) from None
            said = shorten(str(error), 300)
            raise AnswerRejected(f"{taken.model.name}: {said}") from error
        except Exception as error:
            failure = provider_error(error, taken.model.name)
            if not watch.seen or type(failure) is ProviderError:
                raise
            await taken.asettle("interrupted", failure)
            broken = interrupted(taken, failure)
            broken.__cause__ = error
            raise Passing(broken) from None
        watch.end(message)
        await taken.asettle("ok")
        return response

    def _asked(self, seconds: float) -> ChatRequest:
        """The request as a router sees it: how large it is, and what a model must be able to do."""
        request = self.request
        first = [] if request.system_message is None else [request.system_message]
        wanted = request.response_format
        schema = wanted.schema_spec.json_schema if isinstance(wanted, ProviderStrategy) else None
        limit = request.model_settings.get("max_tokens")
        return ChatRequest(
            native_messages([*first, *request.messages]),
            tools=tuple([spec_of(tool) for tool in told_tools(request.tools)]),
            schema=schema,
            max_tokens=limit if isinstance(limit, int) else None,
            scope=self.scope,
            first=self.entry,
            timeout=seconds,
        )

    def _sent(self, entry: str) -> ModelRequest[Any]:
        """The request for the model of an entry, without what only another takes."""
        request, model = self.request, self.models[entry]
        meant_for = self.chosen or self.own
        system = request.system_message
        return request.override(
            model=model,
            messages=for_model(request.messages, model),
            system_message=system and for_model([system], model)[0],
            tools=tools_for(request.tools, model),
            tool_choice=_choice(request.tool_choice, model, meant_for),
            model_settings=settings_for(request.model_settings, model, meant_for),
        )


def _choice(choice: Any, model: BaseChatModel, meant_for: BaseChatModel | None) -> Any:
    """A tool choice; of another provider's form only the tool's name."""
    if not isinstance(choice, dict) or type(meant_for) is type(model):
        return choice
    function = choice.get("function")
    inner = function if isinstance(function, dict) else choice
    return inner.get("name") or inner.get("type")


def _answer_of(response: Response) -> AIMessage | None:
    if isinstance(response, AIMessage):
        return response
    inner = response.model_response if isinstance(response, ExtendedModelResponse) else response
    return next((message for message in inner.result if isinstance(message, AIMessage)), None)


def _decided(response: Response, told: dict[str, Any]) -> Response:
    """`response` with the decision in its answer, which is a new message of the same id."""

    def marked(message: Any) -> Any:
        if not isinstance(message, AIMessage):
            return message
        said = {**message.response_metadata, ROUTER: told}
        return message.model_copy(update={"response_metadata": said})

    if isinstance(response, AIMessage):
        answer: AIMessage = marked(response)
        return answer
    if isinstance(response, ExtendedModelResponse):
        inner = response.model_response
        done = replace(inner, result=[marked(message) for message in inner.result])
        return replace(response, model_response=done)
    return replace(response, result=[marked(message) for message in response.result])
