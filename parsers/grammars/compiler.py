"""Compiles what a request asks for into grammars, and keeps them: one compiler per server.

Compiled schemas are kept by content, least recently used first out, bounded in bytes; tool sets
are small objects over them. Safe to use from several threads.
"""

import marshal
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from ..vocabulary import TokenVocabulary
from .bodies import AnswerGrammar, FreeGrammar
from .calls import ToolCallGrammar
from .grammar_cache import CacheUse, GrammarCache
from .json_grammar import JsonGrammar
from .json_schema import SchemaError, arguments_schema, write_grammar
from .masks import MaskVocabulary
from .text_matcher import TextGrammar

DEFAULT_CACHE_BYTES = 256 << 20


class GrammarCompiler:
    """Makes grammars over one vocabulary.

    vocabulary: the tokenizer's. vocab_size: width of the model's logits, if larger.
    cache_bytes: bound of the memory of compiled grammars that are kept for later requests.
    Making one takes a second or two and imports llguidance and torch.
    """

    def __init__(
        self,
        vocabulary: TokenVocabulary,
        *,
        vocab_size: int | None = None,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        self.masks = MaskVocabulary(vocabulary, vocab_size)
        self.masks.prepare()
        self._cache: GrammarCache[JsonGrammar | TextGrammar] = GrammarCache(cache_bytes)

    @property
    def cache_use(self) -> CacheUse:
        """Return how many grammars are kept, their bytes, and how often one was found."""
        return self._cache.use

    @cached_property
    def _xgrammar(self) -> Any:
        """Return xgrammar's compiler, for what clients write themselves."""
        from xgrammar import GrammarCompiler as XGrammarCompiler

        # xgrammar's own cache confuses grammars that differ in token ids only.
        return XGrammarCompiler(self.masks.tokenizer_info, cache_enabled=False)

    @cached_property
    def free(self) -> FreeGrammar:
        """Return the grammar that allows everything after the thinking."""
        return FreeGrammar(self.masks)

    def tool_calls(
        self,
        tools: Sequence[Mapping[str, Any]],
        *,
        is_forced: bool,
        name: str | None = None,
        is_parallel: bool = True,
        answer: AnswerGrammar | None = None,
    ) -> ToolCallGrammar:
        """Compile the calls of a tool set.

        tools: functions as in a request, `{"type": "function", "function": {...}}` or the inner
        object alone; others are left out. is_forced: a call must come (`required`, a named
        function). name: the one function that may be called. is_parallel: False = one call.
        answer: what the content is held to where no call is forced.
        Raises ValueError if no such function is declared, SchemaError for a broken schema.
        """
        functions = _functions(tools)
        if name is not None and name not in functions:
            raise ValueError(f"tool_choice: no tool is named {name!r}; declared: {[*functions]}")
        if not functions:
            raise ValueError("tools: got no function, want at least one")
        chosen = functions if name is None else {name: functions[name]}
        arguments = {tool: self._arguments(parameters, tool) for tool, parameters in chosen.items()}
        return ToolCallGrammar(
            self.masks, arguments, is_forced=is_forced, is_parallel=is_parallel, answer=answer
        )

    def json_schema(self, schema: Mapping[str, Any] | bool) -> AnswerGrammar:
        """Compile an answer that satisfies a schema. Raises SchemaError for a broken one."""
        return AnswerGrammar(self._json("response_format", _content(schema), lambda: schema))

    def json_object(self) -> AnswerGrammar:
        """Compile an answer that is any JSON object."""
        return self.json_schema({"type": "object"})

    def regex(self, pattern: str) -> AnswerGrammar:
        """Compile an answer that matches a pattern as a whole. Raises ValueError."""
        return AnswerGrammar(self._text("regex", pattern, self._xgrammar.compile_regex))

    def ebnf(self, grammar: str) -> AnswerGrammar:
        """Compile an answer in xgrammar's EBNF, from its rule `root`. Raises ValueError."""
        return AnswerGrammar(self._text("ebnf", grammar, self._xgrammar.compile_grammar))

    def structural_tag(self, tag: str) -> AnswerGrammar:
        """Compile an answer by xgrammar's structural tag (JSON). Raises ValueError."""
        compile_tag = self._xgrammar.compile_structural_tag
        return AnswerGrammar(self._text("structural_tag", tag, compile_tag))

    def _arguments(self, parameters: Any, tool: str) -> JsonGrammar:
        # By the declaration itself: a set that was seen before costs no rewriting.
        content = ("arguments", _content(parameters))
        return self._json(tool, content, lambda: arguments_schema(parameters, tool))

    def _json(self, owner: str, content: Any, schema: Callable[[], Any]) -> JsonGrammar:
        def compiled() -> JsonGrammar:
            try:
                return JsonGrammar(self.masks, write_grammar(schema(), owner))
            except SchemaError:
                raise
            except ValueError as error:
                raise SchemaError(owner, "", f"can't be made a grammar: {error}") from error

        kept = self._cache.get(("json", content), compiled)
        assert isinstance(kept, JsonGrammar)
        return kept

    def _text(self, kind: str, source: str, compile_text: Callable[[str], Any]) -> TextGrammar:
        def compiled() -> TextGrammar:
            try:
                return TextGrammar(self.masks, compile_text(source))
            except (RuntimeError, ValueError) as error:
                raise ValueError(f"{kind}: can't be compiled: {error}") from error

        kept = self._cache.get((kind, source), compiled)
        assert isinstance(kept, TextGrammar)
        return kept


def _content(value: Any) -> bytes | str:
    """Return what tells a JSON value apart from all others, but for the order of keys."""
    try:
        return marshal.dumps(value, 2)  # ten times as fast as JSON; version 2 is by content alone
    except ValueError:
        return repr(value)


def _functions(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the parameters of every function by name, as the request has them."""
    functions: dict[str, Any] = {}
    for tool in tools:
        function = tool.get(
            "function", tool if tool.get("type", "function") == "function" else None
        )
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            functions[function["name"]] = function.get("parameters")
    return functions
