"""Compiles what a request asks for into grammars, and keeps them: one compiler per server.

Compiled schemas are kept by content (the schema's JSON), least recently used first out,
bounded in bytes; tool sets are small objects over them. Safe to use from several threads.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from ..vocabulary import TokenVocabulary
from . import json_lexer
from .bodies import AnswerGrammar, FreeGrammar
from .calls import ToolCallGrammar
from .closing import CloseFinder
from .masks import MaskVocabulary
from .pattern_samples import samples
from .schema import SchemaError, arguments_schema, prepare_schema
from .shortest import largest_growth, without_endless
from .string_rules import allow_escapes
from .text_matcher import TextGrammar

DEFAULT_CACHE_BYTES = 256 << 20
_NUM_WALKS = 16


class GrammarCompiler:
    """Makes grammars over one vocabulary.

    vocabulary: the tokenizer's. vocab_size: width of the model's logits, if larger.
    cache_bytes: bound of the memory of compiled grammars that are kept for later requests.
    Making one takes some tenths of a second and imports xgrammar and torch.
    """

    def __init__(
        self,
        vocabulary: TokenVocabulary,
        *,
        vocab_size: int | None = None,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        from xgrammar import GrammarCompiler as XGrammarCompiler

        self.masks = MaskVocabulary(vocabulary, vocab_size)
        # xgrammar's own cache confuses grammars that differ in token ids only.
        self._compiler = XGrammarCompiler(self.masks.tokenizer_info, cache_enabled=False)
        self.masks.prepare()
        self._finder = CloseFinder(self.masks)
        self._cache_limit = cache_bytes
        self._cache: OrderedDict[tuple[str, str], TextGrammar] = OrderedDict()
        self._cache_bytes = 0
        self._lock = threading.Lock()

    @property
    def num_cached_bytes(self) -> int:
        """Return the bytes of the compiled grammars that are kept."""
        return self._cache_bytes

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
    ) -> ToolCallGrammar:
        """Compile the calls of a tool set.

        tools: functions as in a request, `{"type": "function", "function": {...}}` or the inner
        object alone; others are left out. is_forced: a call must come (`required`, a named
        function). name: the one function that may be called. is_parallel: False = one call.
        Raises ValueError if no such function is declared, SchemaError for a broken schema.
        """
        functions = _functions(tools)
        if name is not None and name not in functions:
            raise ValueError(f"tool_choice: no tool is named {name!r}; declared: {[*functions]}")
        if not functions:
            raise ValueError("tools: got no function, want at least one")
        chosen = functions if name is None else {name: functions[name]}
        arguments = {tool: self._arguments(parameters, tool) for tool, parameters in chosen.items()}
        return ToolCallGrammar(self.masks, arguments, is_forced=is_forced, is_parallel=is_parallel)

    def json_schema(self, schema: Mapping[str, Any] | bool) -> AnswerGrammar:
        """Compile an answer that satisfies a schema. Raises SchemaError for a broken one."""
        return AnswerGrammar(self._schema(schema, "response_format"))

    def json_object(self) -> AnswerGrammar:
        """Compile an answer that is any JSON object."""
        return self.json_schema({"type": "object"})

    def regex(self, pattern: str) -> AnswerGrammar:
        """Compile an answer that matches a pattern as a whole. Raises ValueError."""
        return AnswerGrammar(self._text("regex", pattern, self._compiler.compile_regex))

    def ebnf(self, grammar: str) -> AnswerGrammar:
        """Compile an answer in xgrammar's EBNF, from its rule `root`. Raises ValueError."""
        return AnswerGrammar(self._text("ebnf", grammar, self._compiler.compile_grammar))

    def structural_tag(self, tag: str) -> AnswerGrammar:
        """Compile an answer by xgrammar's structural tag (JSON). Raises ValueError."""
        compile_tag = self._compiler.compile_structural_tag
        return AnswerGrammar(self._text("structural_tag", tag, compile_tag))

    def _arguments(self, parameters: Any, tool: str) -> TextGrammar:
        # By the declaration itself: a set that was seen before costs no rewriting.
        key = ("arguments", json.dumps(parameters, ensure_ascii=False))
        return self._cached(key) or self._schema(arguments_schema(parameters, tool), tool, key)

    def _schema(self, schema: Any, owner: str, key: tuple[str, str] | None = None) -> TextGrammar:
        key = key or ("json_schema", json.dumps(schema, ensure_ascii=False))
        cached = self._cached(key)
        if cached is not None:
            return cached
        prepared = without_endless(prepare_schema(schema, owner))
        compiled = self._compile_schema(prepared)
        if compiled is None:  # a regex that xgrammar doesn't know, such as a word boundary
            plain = prepare_schema(schema, owner, keep_patterns=False)
            compiled = self._compile_schema(without_endless(plain))
        if compiled is None:
            raise SchemaError(owner, "", "holds what can't be made a grammar")
        growth = largest_growth(prepared, self.masks.num_tokens)
        hints = tuple({text.encode() for text in samples(prepared)})
        return self._keep(key, compiled, is_json=True, growth=growth, hints=hints)

    def _compile_schema(self, prepared: Any) -> Any:
        """Return the compiled grammar, None if xgrammar refuses the schema."""
        from xgrammar import Grammar

        text = json.dumps(prepared, ensure_ascii=False)
        try:
            grammar = str(Grammar.from_json_schema(text, any_whitespace=True, strict_mode=True))
            return self._compiler.compile_grammar(allow_escapes(grammar))
        except RuntimeError:
            return None

    def _text(self, kind: str, source: str, compile_text: Callable[[str], Any]) -> TextGrammar:
        cached = self._cached((kind, source))
        if cached is not None:
            return cached
        try:
            compiled = compile_text(source)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{kind}: can't be compiled: {error}") from error
        return self._keep((kind, source), compiled, is_json=False)

    def _cached(self, key: tuple[str, str]) -> TextGrammar | None:
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
            return self._cache.get(key)

    def _keep(
        self,
        key: tuple[str, str],
        compiled: Any,
        *,
        is_json: bool,
        growth: int = 0,
        hints: tuple[bytes, ...] = (),
    ) -> TextGrammar:
        text = TextGrammar(
            masks=self.masks,
            finder=self._finder,
            compiled=compiled,
            is_json=is_json,
            shortest=self._shortest(compiled, hints) if is_json else None,
            growth=growth,
            hints=hints,
        )
        with self._lock:
            if key not in self._cache:
                self._cache_bytes += compiled.memory_size_bytes
            self._cache[key] = text
            while self._cache_bytes > self._cache_limit and len(self._cache) > 1:
                _, evicted = self._cache.popitem(last=False)
                self._cache_bytes -= evicted.compiled.memory_size_bytes
        return text

    def _shortest(self, compiled: Any, hints: tuple[bytes, ...]) -> tuple[int, ...] | None:
        from xgrammar import GrammarMatcher

        stop_id = self.masks.stop_ids[0]
        matcher = GrammarMatcher(compiled, override_stop_tokens=[stop_id])
        close = self._finder.find(
            matcher, json_lexer.START, stop_id, hints=hints, num_walks=_NUM_WALKS
        )
        return None if close is None else close[:-1]


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
