"""What a server of our architectures uses without any flag.

All of it lies in three of SGLang's decisions: the defaults that an architecture implies, the
sampling defaults of a model, and the chat encoding of a model. Other models are left alone.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

from sglang_kimi import environment
from sglang_kimi.seams import hook, require

from . import ledger_choice
from .adapter import build_adapter
from .detectors import KimiReasoningDetector, KimiToolCallDetector
from .names import ENCODING, GRAMMAR_BACKEND, PARSER, STOCK_PARSERS, is_kimi

logger = logging.getLogger(__name__)

_SWITCHED_ON: Final = ("enable_cache_report", "enable_response_store")
"""Server arguments that clients of this model rely on: cached tokens in the usage, stored turns."""

_SAMPLING: Final = {"temperature": 1.0, "top_p": 0.95}
"""The model card's sampling, where neither client nor generation_config.json says otherwise."""


def register_names() -> None:
    """Name our parsers and our grammar backend; before SGLang reads the command line."""
    for seam in ("reasoning_parser_names", "tool_call_parser_names"):
        names: list[str] = require(seam)
        if PARSER not in names:
            names.append(PARSER)
    require("reasoning_detectors")[PARSER] = KimiReasoningDetector
    require("tool_call_detectors")[PARSER] = KimiToolCallDetector
    require("grammar_backend_choices")([GRAMMAR_BACKEND])


def register_encoding() -> None:
    """Let our adapter encode and parse for our architectures."""
    require("encoding_builders")[ENCODING] = {"builtin": build_adapter}
    require("encoding_parsers")[ENCODING] = (PARSER, PARSER)
    hook("resolve_encoding", _resolve_encoding, "after")
    hook("encoding_keeps_inline_system", _is_our_encoding, "after")
    hook("encoding_gives_ids", _is_our_encoding, "after")
    hook("native_text_parser", _native_text_parser, "around")


def register_defaults() -> None:
    """Set parsers, reports, grammar backend and sampling for our architectures."""
    hook("architecture_defaults", _architecture_defaults, "after")
    hook("sampling_defaults", _sampling_defaults, "after")


def _resolve_encoding(spec: str | None, *, hf_config: Any, **_: Any) -> str | None:
    return ENCODING if is_kimi(hf_config) else spec


def _is_our_encoding(answer: bool, spec: str | None) -> bool:
    return answer or spec == ENCODING


def _native_text_parser(
    find: Callable[..., Any],
    parser_name: str | None,
    *,
    chat_encoding_spec: str | None,
    adapter: Any,
) -> Any:
    """Let the names that users give for this model's parsers mean ours, where it is served."""
    if chat_encoding_spec == ENCODING and parser_name in STOCK_PARSERS:
        parser_name = PARSER
    return find(parser_name, chat_encoding_spec=chat_encoding_spec, adapter=adapter)


def _architecture_defaults(defaults: dict[str, Any], server_args: Any) -> dict[str, Any]:
    """Add our defaults to those that SGLang has for the architecture.

    What the operator gave stays, but the names that SGLang's documentation gives for this model's
    parsers mean ours.
    """
    model_config = getattr(server_args, "_model_config", None)
    if model_config is None or not is_kimi(model_config.hf_config):
        return defaults
    _refuse_stripped_thinking(server_args)
    _refuse_unheld_budget(server_args)
    ledger_choice.prepare(server_args)
    ours: dict[str, Any] = {}
    for field in ("reasoning_parser", "tool_call_parser"):
        if getattr(server_args, field) in (None, *STOCK_PARSERS):
            ours[field] = PARSER
    for field in _SWITCHED_ON:
        ours[field] = True
    if server_args.grammar_backend is None:
        ours["grammar_backend"] = GRAMMAR_BACKEND
    logger.info("Kimi chat defaults: %s", ", ".join(f"{k}={v}" for k, v in ours.items()))
    return {**defaults, **ours}


def _refuse_stripped_thinking(server_args: Any) -> None:
    """Stop the start where the cache would drop every answer: this model's history keeps them."""
    if server_args.strip_thinking_cache:
        raise SystemExit(
            "sglang-kimi: --strip-thinking-cache cannot be used with this model: its prompts hold "
            "the thinking of all earlier turns, so answers must stay in the prefix cache. Without "
            "the flag each turn reuses the previous prompt and answer."
        )


def _refuse_unheld_budget(server_args: Any) -> None:
    """Stop the start where limits of the thinking are set and nothing would hold them."""
    backend = server_args.grammar_backend
    for name, value in (
        (environment.MAX_THINKING_TOKENS, environment.max_thinking_tokens()),
        (environment.REASONING_EFFORT, environment.reasoning_efforts() or None),
    ):
        if value is not None and backend not in (None, GRAMMAR_BACKEND):
            raise SystemExit(
                f"sglang-kimi: {name}: want a server with --grammar-backend {GRAMMAR_BACKEND} "
                f"(the default for this model), got {backend!r}"
            )


def _sampling_defaults(params: dict[str, Any], model_config: Any) -> dict[str, Any]:
    return {**_SAMPLING, **params} if is_kimi(model_config.hf_config) else params
