"""Answers made of nodes: the mode chosen for each query, and another model in a copy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Final

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.llm import LLM
from llama_index.core.prompts.mixin import PromptDictType
from llama_index.core.response_synthesizers import (
    BaseSynthesizer,
    CompactAndRefine,
    ResponseMode,
    TreeSummarize,
    get_response_synthesizer,
)
from llama_index.core.types import RESPONSE_TEXT_TYPE

from rag_memory_plugins.ports import TokenCounter
from rag_memory_plugins.retrieval.nodes import Node
from rag_memory_plugins.retrieval.packing import pack

__all__ = ["RecommendedMode", "fill", "with_model"]

_EVERYTHING: Final = 1 << 40  # tokens: nothing is left out, only looked at


class RecommendedMode(BaseSynthesizer):
    """Answers each query in the mode that `retrieval.packing.pack` recommends for its nodes.

    That is compact, or tree_summarize for more than ten nodes or more text than the model reads at
    once. Prompts, model, streaming and output class are those of `model`, the synthesizer in
    place, which is not changed.

    >>> from llama_index.core.llms import MockLLM
    >>> from rag_memory_plugins.tokens import make_counter
    >>> compact = get_response_synthesizer(llm=MockLLM(max_tokens=2))
    >>> made = RecommendedMode(compact, make_counter("words"))
    >>> made.get_response("which crane?", ["The crane is green."])
    'text text'
    """

    def __init__(self, model: BaseSynthesizer, counter: TokenCounter) -> None:
        # Not super().__init__: it writes to the model and reads the global Settings.
        vars(self).update(vars(model))
        self._counter = counter
        self._modes = {
            "compact": _in_mode(model, ResponseMode.COMPACT, CompactAndRefine),
            "tree_summarize": _in_mode(model, ResponseMode.TREE_SUMMARIZE, TreeSummarize),
        }

    def get_response(
        self, query_str: str, text_chunks: Sequence[str], **response_kwargs: Any
    ) -> RESPONSE_TEXT_TYPE:
        """The answer from the texts of the nodes."""
        chosen = self._chosen(text_chunks)
        return chosen.get_response(query_str, text_chunks, **response_kwargs)

    async def aget_response(
        self, query_str: str, text_chunks: Sequence[str], **response_kwargs: Any
    ) -> RESPONSE_TEXT_TYPE:
        """Async form of `get_response`."""
        chosen = self._chosen(text_chunks)
        return await chosen.aget_response(query_str, text_chunks, **response_kwargs)

    def get_response_from_messages(
        self, query_str: str, message_chunks: Sequence[ChatMessage], **response_kwargs: Any
    ) -> RESPONSE_TEXT_TYPE:
        """The answer from nodes with pictures."""
        chosen = self._chosen([chunk.content or "" for chunk in message_chunks])
        return chosen.get_response_from_messages(query_str, message_chunks, **response_kwargs)

    async def aget_response_from_messages(
        self, query_str: str, message_chunks: Sequence[ChatMessage], **response_kwargs: Any
    ) -> RESPONSE_TEXT_TYPE:
        """Async form of `get_response_from_messages`."""
        chosen = self._chosen([chunk.content or "" for chunk in message_chunks])
        return await chosen.aget_response_from_messages(
            query_str, message_chunks, **response_kwargs
        )

    def _chosen(self, texts: Sequence[str]) -> BaseSynthesizer:
        known = self._llm.metadata
        nodes = [Node(str(at), text) for at, text in enumerate(texts)]
        window = max(1, known.context_window - max(known.num_output, 0))
        looked = pack(nodes, _EVERYTHING, self._counter, repeats=True, window=window)
        chosen = copied(self._modes[looked.recommended_response_mode])
        chosen._streaming = self._streaming  # noqa: SLF001  # chat engines switch it for each query
        return chosen

    def _get_prompts(self) -> PromptDictType:
        prompts: PromptDictType = {}
        for mode in self._modes.values():
            prompts |= mode.get_prompts()
        return prompts

    def _update_prompts(self, prompts_dict: PromptDictType) -> None:
        for mode in self._modes.values():
            known = mode.get_prompts()
            mode.update_prompts({k: v for k, v in prompts_dict.items() if k in known})


def with_model(
    synthesizer: BaseSynthesizer, llm: LLM, window: int, limit: int | None
) -> BaseSynthesizer:
    """A copy of `synthesizer` that asks `llm`, whose window is filled up to `window` tokens."""
    made = copied(synthesizer)
    made._llm = llm  # noqa: SLF001  # what its constructor sets, without the rest it does
    fill(made, window, limit)
    return made


def fill(synthesizer: BaseSynthesizer, window: int, limit: int | None) -> None:
    """Let prompts and answers have `window` tokens; `limit` is what a prompt alone may have."""
    for name in ("_prompt_helper", "_chat_prompt_helper"):
        if hasattr(synthesizer, name):
            limits = {"context_window": window}
            setattr(synthesizer, name, getattr(synthesizer, name).model_copy(update=limits))
    if limit is not None and hasattr(synthesizer, "_response_padding_size"):
        # 500 tokens kept free for the answer so far are more than a small budget has.
        free = min(synthesizer._response_padding_size, limit // 8)  # noqa: SLF001
        synthesizer._response_padding_size = free  # noqa: SLF001


def copied(synthesizer: BaseSynthesizer) -> BaseSynthesizer:
    """A copy of its own: methods that it keeps as attributes belong to the copy."""
    made = copy.copy(synthesizer)
    for name, value in vars(synthesizer).items():
        if getattr(value, "__self__", None) is synthesizer:
            setattr(made, name, value.__func__.__get__(made))
    return made


def _in_mode(
    model: BaseSynthesizer, mode: ResponseMode, kind: Callable[..., BaseSynthesizer]
) -> BaseSynthesizer:
    """`model` if it has that mode, else one of its parts that has."""
    if type(model) is kind:
        return copied(model)
    has = vars(model)
    names = ("text_qa_template", "refine_template", "summary_template", "output_cls")
    given: dict[str, Any] = {name: has.get(f"_{name}") for name in names}
    if has.get("_multimodal"):
        given["multimodal"] = True
    llm = has["_llm"]
    told = llm.callback_manager
    made = get_response_synthesizer(
        llm=llm,
        prompt_helper=has["_prompt_helper"],
        callback_manager=has["_callback_manager"],
        response_mode=mode,
        use_async=bool(has.get("_use_async")),
        verbose=bool(has.get("_verbose")),
        **given,
    )
    llm.callback_manager = told  # a synthesizer's constructor sets its own
    return made
