"""Hooks that bring each request's origin to the prompt, and its output ids to the ledger.

Every API goes through one SGLang method between its headers and its prompt, and through
`TokenizerManager.generate_request` between its prompt and its output ids. The official output
parsers do not do: they get no prompt, and never run where the client leaves.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from sglang.srt.entrypoints.openai.chat_encoding_adapters import select_new_output_ids
from sglang.srt.runtime_context import get_disagg, get_serving

from sglang_kimi.seams import hook, require

from . import request_scope
from .names import ENCODING
from .origin import origin_of, room_of
from .request_scope import Pairing, Turn
from .response_chains import ResponseChains
from .response_store import BoundedInputs

logger = logging.getLogger(__name__)


def register() -> None:
    """Hook the APIs' handlers and the tokenizer manager."""
    hook("convert_chat_request", _convert_chat_request, "around")
    hook("tokenize_chat", _tokenize_chat, "around")
    hook("count_message_tokens", _count_message_tokens, "around")
    hook("init_responses", _bound_response_store, "after")
    hook("create_responses", _create_responses, "around")
    hook("generate_response", _mark_response_generation, "before")
    hook("generate_request", _generate_request, "around")


def _convert_chat_request(
    convert: Callable[..., Any], handler: Any, request: Any, raw_request: Any = None
) -> Any:
    """Encode a request of chat or messages as its origin's; runs in a thread, or on the loop."""
    if handler.chat_encoding_spec != ENCODING:
        return convert(handler, request, raw_request)
    headers = _headers(raw_request)
    with request_scope.entered(origin_of(request, headers), _pairing(request, headers)) as scope:
        generate_request, request = convert(handler, request, raw_request)
    request_scope.attach_turn(generate_request, scope.turn)
    return generate_request, request


async def _tokenize_chat(
    tokenize: Callable[..., Any], handler: Any, adapted: Any, request: Any, raw_request: Any
) -> Any:
    """Count what the same request would be as a chat: with the thinking that is restored."""
    with request_scope.entered(origin_of(request, _headers(raw_request))):
        return await tokenize(handler, adapted, request, raw_request)


async def _count_message_tokens(
    count: Callable[..., Any], handler: Any, request: Any, raw_request: Any
) -> Any:
    with request_scope.entered(origin_of(request, _headers(raw_request))):
        return await count(handler, request, raw_request)


def _bound_response_store(result: None, handler: Any, *_: Any, **__: Any) -> None:
    """Keep the handler's stored responses, which we switched on, within a limit."""
    if handler.chat_encoding_spec == ENCODING:
        handler.msg_store = BoundedInputs(handler.response_store)


_chains = ResponseChains()


async def _create_responses(
    create: Callable[..., Any], handler: Any, request: Any, raw_request: Any = None
) -> Any:
    if handler.chat_encoding_spec != ENCODING:
        return await create(handler, request, raw_request)
    chain = _chains.name(request.request_id, request.previous_response_id)
    headers = _headers(raw_request)
    origin = origin_of(request, headers, response_chain=chain)
    with request_scope.entered(origin, _pairing(request, headers)):
        return await create(handler, request, raw_request)


def _mark_response_generation(
    handler: Any, request_id: str, prompt: Any, generate_request: Any, *_: Any, **__: Any
) -> None:
    """Attach the turn; SGLang calls this inside `create_responses`, streamed or not."""
    request_scope.attach_turn(generate_request, request_scope.current().turn)


def _generate_request(
    generate: Callable[..., AsyncGenerator[Any, None]], manager: Any, obj: Any, request: Any = None
) -> AsyncGenerator[Any, None]:
    """Let the output ids of our prompts pass by the ledger; leave all else alone."""
    turn = request_scope.attached_turn(obj)
    outputs = generate(manager, obj, request)
    if turn is None:
        return outputs
    if turn.pairing is not None:
        outputs = _confirmed(outputs, turn)
    # A prefill server sees only the first token; its decode server records the turn.
    if get_disagg().disaggregation_mode == "prefill":
        return outputs
    return _recorded(outputs, turn)


async def _confirmed(outputs: AsyncGenerator[Any, None], turn: Turn) -> AsyncGenerator[Any, None]:
    """Yield `outputs`; ValueError before the first if the other server had another prompt.

    Neither server has an output before both have encoded the request and met for it.
    """
    is_confirmed = False
    async with aclosing(outputs):
        async for output in outputs:
            if not is_confirmed:
                turn.confirm()
                is_confirmed = True
            yield output


async def _recorded(outputs: AsyncGenerator[Any, None], turn: Turn) -> AsyncGenerator[Any, None]:
    """Yield `outputs`, each choice recorded before the client can see that it ended.

    A choice that never ends, since the client left or the request failed, is recorded as far as
    it came.
    """
    open_choices: dict[int, list[int]] = {}
    try:
        async with aclosing(outputs):
            async for output in outputs:
                for position, chunk in enumerate(output if isinstance(output, list) else [output]):
                    _take(chunk, position, open_choices, turn)
                yield output
    finally:
        for output_ids in open_choices.values():
            _record(turn, output_ids)


def _take(
    chunk: Mapping[str, Any], position: int, open_choices: dict[int, list[int]], turn: Turn
) -> None:
    index = chunk.get("index", position)
    output_ids = open_choices.setdefault(index, [])
    shown_ids = chunk.get("output_ids") or []
    meta = chunk["meta_info"]
    finish_reason = meta.get("finish_reason")
    output_ids += select_new_output_ids(
        output_ids=shown_ids,
        num_consumed_tokens=len(output_ids),
        # A request that is aborted while it waits ends without a count.
        completion_tokens=meta.get("completion_tokens", len(shown_ids)),
        finish_reason_type=finish_reason["type"] if finish_reason else None,
        incremental=get_serving().incremental_streaming_output,
    )
    if finish_reason:
        _record(turn, open_choices.pop(index))


def _record(turn: Turn, output_ids: list[int]) -> None:
    if not output_ids:
        return
    try:
        turn.record(output_ids)
    except Exception:  # a turn that is not remembered costs reuse; the client's answer goes on
        logger.exception("A generated turn could not be recorded in the ledger")


def _pairing(request: Any, headers: Mapping[str, str]) -> Pairing | None:
    """Return which request of a prefill and decode pair this is, None where it is of none."""
    found = room_of(request, headers)
    if found is None or (side := get_disagg().disaggregation_mode) == "null":
        return None
    host, room = found
    has_pair = host != require("fake_bootstrap_host")  # as warm-ups and benchmarks have none
    return Pairing(side, room) if has_pair else None


def _headers(raw_request: Any) -> Mapping[str, str]:
    headers: Mapping[str, str] = getattr(raw_request, "headers", None) or {}
    return headers
