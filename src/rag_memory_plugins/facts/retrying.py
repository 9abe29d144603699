"""`RetryingModel`: a chat model that is asked again when a failure may pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import (
    BadRequest,
    BudgetSpent,
    ChatModelError,
    ContentFiltered,
    ContextOverflow,
    NoModelFits,
    ProviderAuth,
    RequestCancelled,
)
from rag_memory_plugins.llm.asking import MayPass, answered
from rag_memory_plugins.types import Message

if TYPE_CHECKING:
    from rag_memory_plugins.ports import ChatModel

__all__ = ["RetryingModel"]

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 30.0
LASTING: Final = (
    BadRequest,
    BudgetSpent,
    ContentFiltered,
    ContextOverflow,
    NoModelFits,
    ProviderAuth,
    RequestCancelled,
)
"""What the same prompt meets again a little later."""


class RetryingModel:
    """`model`, asked up to `tries` times a question, with growing random waits in between.

    Each try has `timeout` seconds; `longest` is what all may take. A failure that asking again
    cannot mend is raised at once. `sleep` waits. The model is never closed here.

    `LLMBatcher` asks again too, but at once and in smaller prompts: made for answers that leave
    items out, while a limit of a provider wants the same prompt a little later.

    >>> from rag_memory_plugins.testing.models import ScriptedModel
    >>> RetryingModel(ScriptedModel("Yes."), tries=2, timeout=10.0).longest
    50.0
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        tries: int,
        timeout: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.model = model
        self.tries = tries
        self.timeout = timeout
        self._sleep = sleep

    @property
    def name(self) -> str:
        """That of the model."""
        return self.model.name

    @property
    def longest(self) -> float:
        """Seconds."""
        return self.tries * self.timeout + (self.tries - 1) * LONGEST_WAIT

    async def achat(self, messages: Sequence[Message], *, max_tokens: int | None = None) -> Message:
        """The model's answer. Raises `ChatModelError`, and what the model raises besides."""
        from tenacity import (
            AsyncRetrying,
            retry_if_exception,
            stop_after_attempt,
            wait_random_exponential,
        )

        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.tries),
            wait=wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT),
            retry=retry_if_exception(_may_pass),
            sleep=self._sleep,
            reraise=True,
        )

        async def once() -> str:
            return await answered(
                self.model, messages, name=self.name, timeout=self.timeout, max_tokens=max_tokens
            )

        try:
            return Message("assistant", await retrying(once))
        except MayPass:
            raise
        except ChatModelError as error:
            # The batcher tells by the model's own error that asking again is no use.
            raise (error.__cause__ or error) from None

    async def aclose(self) -> None:
        """Nothing: the model is its maker's."""


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, MayPass) and not isinstance(error.__cause__, LASTING)
