"""What the scheduler does with a request before its grammar is used.

Runs in scheduler processes. SGLang's grammar manager gives a backend the grammar string only; the
prompt and the limits of a request are read here and handed to the grammar.
"""

from collections.abc import Sequence
from typing import Any

from sglang_kimi.parsers.vocabulary import THINK_OPEN, TokenVocabulary
from sglang_kimi.seams import hook, require

from . import reasoning_tokens
from .grammar_backend import KimiGrammar, KimiGrammarBackend, create_backend
from .grammar_key import FIRST_CALL_INDEX, FREE
from .names import GRAMMAR_BACKEND
from .thinking_budget import CUSTOM_BUDGET


def register() -> None:
    """Register the backend and hook the grammar manager."""
    require("register_grammar_backend")(GRAMMAR_BACKEND, _create_backend)
    hook("grammar_of_request", _ask_for_bounded_thinking, "before")
    hook("grammar_is_ready", _begin, "after")


def _create_backend(*args: Any) -> KimiGrammarBackend:
    backend = create_backend(*args)
    reasoning_tokens.serve(backend.vocabulary)
    return backend


def _ask_for_bounded_thinking(manager: Any, req: Any) -> None:
    """Give a request that only bounds its thinking a grammar that bounds nothing else."""
    if not isinstance(manager.grammar_backend, KimiGrammarBackend):
        return
    params = req.sampling_params
    has_grammar = params.json_schema or params.regex or params.ebnf or params.structural_tag
    if not has_grammar and _count(params, CUSTOM_BUDGET) is not None:
        params.structural_tag = FREE


def _begin(result: None, manager: Any, req: Any) -> None:
    """Give a request's grammar the numbers of the request.

    SGLang has lowered `max_new_tokens` to what the context and the cache have room for by now.
    """
    if isinstance(req.grammar, KimiGrammar):
        params = req.sampling_params
        vocabulary = manager.grammar_backend.vocabulary
        req.grammar.begin(
            start_index=_count(params, FIRST_CALL_INDEX) or 0,
            thinking_budget=_count(params, CUSTOM_BUDGET),
            max_tokens=params.max_new_tokens,
            starts_in_thinking=ends_in_thinking(req.origin_input_ids, vocabulary),
        )


def ends_in_thinking(prompt_ids: Sequence[int], vocabulary: TokenVocabulary) -> bool:
    """Say whether a prompt leaves the thinking open: its last control token opens it."""
    for token_id in reversed(prompt_ids):
        if token_id >= vocabulary.num_ranks:
            return token_id == vocabulary.control_id(THINK_OPEN)
    return False


def _count(params: Any, name: str) -> int | None:
    custom = params.custom_params
    value = custom.get(name) if isinstance(custom, dict) else None
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_count else None
