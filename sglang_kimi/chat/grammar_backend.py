"""Our grammars as an SGLang grammar backend: the thinking and its budget, then calls or a format.

SGLang wraps its own backends to wait for the end of the thinking; a registered one it uses as it
is, so thinking, budget and calls are all in our `TurnMatcher`. This file only translates between
the two; it knows nothing of grammars.
"""

import json
import logging
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from sglang.srt.constrained.base_grammar_backend import (
    BaseGrammarBackend,
    BaseGrammarObject,
    InvalidGrammarObject,
)
from sglang.srt.constrained.xgrammar_backend import XGrammarGrammar
from sglang.srt.runtime_context import get_parallel

from sglang_kimi.parsers.grammars.bodies import AnswerGrammar, BodyGrammar
from sglang_kimi.parsers.grammars.calls import ToolCallGrammar
from sglang_kimi.parsers.grammars.compiler import GrammarCompiler
from sglang_kimi.parsers.grammars.turn import TurnMatcher
from sglang_kimi.parsers.vocabulary import TokenVocabulary

from .grammar_key import read_tag
from .grammar_metrics import GrammarMetrics
from .names import vocabulary_of

logger = logging.getLogger(__name__)

GrammarKey = tuple[str, str]

_MAX_KEYS: Final = 1024
_MAX_KEY_CHARS: Final = 32 << 20
"""Strings kept, and their characters together: what they name is as large as they are long. The
compiled grammars behind them are bounded in bytes by the compiler."""

_NUM_COMPILE_THREADS: Final = 2  # each takes its part of the interpreter from the serving loop

_ANY_JSON: Final = "$$ANY$$"
"""SGLang's spelling of "any JSON value"."""


class KimiGrammar(BaseGrammarObject):  # type: ignore[misc]
    """One request's grammar in the form that SGLang's scheduler drives.

    body: what follows the thinking. `begin` gives the request's numbers before its first token.
    """

    # Devices and their kernels are SGLang's business: masks are what its own backend uses.
    allocate_vocab_mask = XGrammarGrammar.allocate_vocab_mask
    move_vocab_mask = staticmethod(XGrammarGrammar.move_vocab_mask)
    apply_vocab_mask = XGrammarGrammar.apply_vocab_mask

    def __init__(self, body: BodyGrammar) -> None:
        super().__init__()
        self._body = body
        self._matcher = TurnMatcher(body, starts_in_thinking=False)

    def begin(
        self,
        *,
        start_index: int,
        thinking_budget: int | None,
        max_tokens: int | None,
        starts_in_thinking: bool,
    ) -> None:
        """Start the turn of a request; for the arguments see `TurnMatcher`."""
        self._matcher = TurnMatcher(
            self._body,
            start_index=start_index,
            thinking_budget=thinking_budget,
            max_tokens=max_tokens,
            starts_in_thinking=starts_in_thinking,
        )

    def copy(self) -> "KimiGrammar":
        """Return a grammar for another request."""
        return KimiGrammar(self._body)

    def accept_token(self, token: int) -> None:
        """Take a sampled token; ValueError, which ends the request, if it is not allowed."""
        # Disaggregated decoding reads it to know whether the first token was taken already.
        self.current_token = token
        self._matcher.accept_token(token)

    def rollback(self, k: int) -> None:
        """Take back the last k tokens (speculative decoding)."""
        self._matcher.rollback(k)

    def is_terminated(self) -> bool:
        """Say whether the turn is complete."""
        return self._matcher.is_terminated()

    def fill_vocab_mask(self, vocab_mask: Any, idx: int) -> None:
        """Write the allowed tokens into row idx of vocab_mask, int32 [rows, ceil(vocab / 32)]."""
        self._matcher.fill_bitmask(vocab_mask, idx)


class KimiGrammarBackend(BaseGrammarBackend):  # type: ignore[misc]
    """Compiles SGLang's grammar strings for one vocabulary.

    vocabulary: the served checkpoint's, readable by others. vocab_size: width of the logits.
    metrics: where they are shown, None on ranks that only repeat another's work.
    """

    def __init__(
        self,
        vocabulary: TokenVocabulary,
        vocab_size: int,
        metrics: GrammarMetrics | None = None,
    ) -> None:
        super().__init__()
        self._metrics = metrics
        self.vocabulary = vocabulary
        self.executor = ThreadPoolExecutor(_NUM_COMPILE_THREADS, "kimi-grammar")
        self._compiler = GrammarCompiler(vocabulary, vocab_size=vocab_size)
        self._recent: OrderedDict[GrammarKey, BaseGrammarObject] = OrderedDict()
        self._num_key_chars = 0

    def get_cached_or_future_value(
        self, key: GrammarKey, require_reasoning: bool
    ) -> tuple[BaseGrammarObject | Future[BaseGrammarObject], bool]:
        """Return the grammar of a string seen before, or the future of one to be compiled.

        Where the thinking starts is read from the prompt, so `require_reasoning` is not needed.
        """
        grammar = self._recent.get(key)
        if self._metrics is not None:
            self._metrics.count_request(is_hit=grammar is not None)
        if grammar is None:
            return self.executor.submit(self._compile, key), False
        self._recent.move_to_end(key)
        return grammar.copy(), True

    def set_cache(self, key: GrammarKey, value: BaseGrammarObject) -> None:
        """Keep a grammar for later requests; the least recently used one goes first.

        A failure is not kept: it may have been one of time, and others are found quickly again.
        """
        if isinstance(value, InvalidGrammarObject):
            return
        if key not in self._recent:
            self._num_key_chars += len(key[1])
        self._recent[key] = value
        while len(self._recent) > _MAX_KEYS or (
            self._num_key_chars > _MAX_KEY_CHARS and len(self._recent) > 1
        ):
            evicted, _ = self._recent.popitem(last=False)
            self._num_key_chars -= len(evicted[1])

    def reset(self) -> None:
        """Forget the strings (SGLang's /flush_cache)."""
        self._recent.clear()
        self._num_key_chars = 0

    def _compile(self, key: GrammarKey) -> BaseGrammarObject:
        """Return a string's grammar, or the object by which SGLang refuses the request.

        Runs in a thread. Not by SGLang's own dispatch, which refuses a NUL in any schema, since
        xgrammar cannot bear it; here xgrammar sees only what clients wrote for it.
        """
        kind, text = key
        try:
            body = self._body(kind, text)
        except (ValueError, RecursionError) as error:
            logger.info("A client's grammar cannot be compiled: %s", error)
            return InvalidGrammarObject(str(error))
        if self._metrics is not None:
            self._metrics.tell_relaxed(_relaxed(body))
            self._metrics.show_use(self._compiler.cache_use)
        return KimiGrammar(body)

    def _body(self, kind: str, text: str) -> BodyGrammar:
        match kind:
            case "json":
                return self._compiler.json_schema(_schema(text))
            case "structural_tag":
                return self._tagged(text)
            case "regex":
                return self._compiler.regex(_without_nul(kind, text))
            case "ebnf":
                return self._compiler.ebnf(_without_nul(kind, text))
        raise ValueError(f"{kind}: this grammar backend knows no such grammar")

    def _tagged(self, key_string: str) -> BodyGrammar:
        key = json.loads(key_string)
        tag = read_tag(key)
        if tag is None:
            text = _without_nul("structural_tag", _modern_tag(key, key_string))
            return self._compiler.structural_tag(text)
        if not tag.tools:
            return self._compiler.free
        answer = None if tag.answer is None else self._compiler.json_schema(_schema(tag.answer))
        return self._compiler.tool_calls(
            tag.tools,
            is_forced=tag.is_forced,
            name=tag.name,
            is_parallel=tag.is_parallel,
            answer=answer,
        )


def create_backend(
    server_args: Any, tokenizer: Any, vocab_size: int, eos_token_ids: Any
) -> KimiGrammarBackend:
    """Create the backend, in the form that SGLang calls."""
    del server_args, eos_token_ids  # the turn's end is part of the prompt format
    parallel = get_parallel()
    is_first = parallel.attn_tp_rank == 0 and parallel.pp_rank == 0
    metrics = GrammarMetrics() if is_first else None
    return KimiGrammarBackend(vocabulary_of(tokenizer), vocab_size, metrics)


def _relaxed(body: BodyGrammar) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return what of its schemas a grammar does not hold, by tool or field."""
    if isinstance(body, ToolCallGrammar):
        return body.relaxed | ({} if body.answer is None else _relaxed(body.answer))
    return {"response_format": body.relaxed} if isinstance(body, AnswerGrammar) else {}


def _without_nul(kind: str, text: str) -> str:
    """Return a text for xgrammar, which crashes on a NUL, escaped or not; ValueError."""
    if "\0" in text or "\\u0000" in text:
        raise ValueError(f"{kind}: want a text without NUL, got one with it")
    return text


def _schema(key_string: str) -> Any:
    return True if key_string == _ANY_JSON else json.loads(key_string)


def _modern_tag(key: Mapping[str, Any], key_string: str) -> str:
    """Return xgrammar's present form of a structural tag given in either form."""
    if "structures" not in key:
        return key_string
    from xgrammar import StructuralTag, StructuralTagItem

    items = [
        StructuralTagItem(
            begin=structure["begin"], schema=structure.get("schema") or {}, end=structure["end"]
        )
        for structure in key["structures"]
    ]
    tag = StructuralTag.from_legacy_structural_tag(items, key["triggers"])
    return str(tag.model_dump_json())
