"""Times a chat request's way to its prompt in SGLang's own handler, with our encoding and without.

`python -P -m sglang_kimi.chat.prompt_cost FOLDER TEMPLATE` reads steps from standard input, one
JSON object a line, and answers each with its times. No engine runs. For `sglang-kimi bench codec`,
which must not import SGLang itself.

step:   {"side": "ours" or "stock", "body": a body of /v1/chat/completions, and on our side
        "output_ids": what the model generates then}
answer: {"times": seconds under "parse" (pydantic), "check" (SGLang's check of the request), "build"
        (the request to its prompt's ids) and "rest" (grammar and sampling parameters around that),
        and on our side "num_tokens" of the prompt and "record", CPU seconds of remembering and
        reading its answer, on the other "release_cuts": seconds that the release's own tokenizer
        takes besides, for its cuts}
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from sglang.srt.plugins import load_plugins

load_plugins()

from sglang.srt import runtime_context  # noqa: E402
from sglang.srt.configs.model_config import ModelConfig  # noqa: E402
from sglang.srt.entrypoints.openai.protocol import ChatCompletionRequest  # noqa: E402
from sglang.srt.entrypoints.openai.serving_chat import OpenAIServingChat  # noqa: E402
from sglang.srt.parser.template_manager import TemplateManager  # noqa: E402
from sglang.srt.server_args import ServerArgs  # noqa: E402
from sglang.srt.utils.hf_transformers_utils import get_tokenizer  # noqa: E402

from sglang_kimi.codec.vocabulary import Vocabulary  # noqa: E402
from sglang_kimi.seams import require  # noqa: E402

from . import request_scope, serving  # noqa: E402
from .history import history_of  # noqa: E402
from .names import PARSER, STOCK_PARSERS, vocabulary_of  # noqa: E402

_NO_HEADERS: Final = SimpleNamespace(headers={})


class _StockChat(OpenAIServingChat):  # type: ignore[misc]
    """SGLang's handler as it is for a model without an encoding: template and tokenizer."""

    def _resolve_chat_encoding_spec(self) -> str | None:
        return None


class _Manager:
    """What a handler reads of SGLang's tokenizer manager."""

    processor = None
    served_model_name = "kimi"
    allow_auto_truncate = False
    num_reserved_tokens = 0

    def __init__(self, server_args: ServerArgs, tokenizer: Any, parser: str) -> None:
        self.server_args = server_args
        self.model_path = server_args.model_path
        self.model_config = ModelConfig.from_server_args(server_args)
        self.context_len = self.model_config.context_len
        self.tokenizer = tokenizer
        self._parser = parser

    def config_value(self, name: str) -> Any:
        if name in ("tool_call_parser", "reasoning_parser"):
            return self._parser
        return runtime_context.get_context().config_leaf(name)


class _Stopwatch:
    """One method of an object, timed: `seconds` is what its last call took."""

    def __init__(self, owner: Any, method: str) -> None:
        self._call: Callable[..., Any] = getattr(owner, method)
        self.seconds = 0.0
        setattr(owner, method, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        start = time.thread_time()
        try:
            return self._call(*args, **kwargs)
        finally:
            self.seconds = time.thread_time() - start


class _Side:
    """One of the two ways, with what of it is timed."""

    def __init__(self, handler: OpenAIServingChat, build: _Stopwatch, *, is_ours: bool) -> None:
        self._handler = handler
        self._build = build
        self._is_ours = is_ours

    def run(self, body: str) -> tuple[dict[str, float], Any]:
        """Return the times of a request and what SGLang would generate from."""
        serving.activate(self._is_ours)
        fields = json.loads(body)  # anew, so that no text's hash is known already
        start = time.thread_time()
        request = ChatCompletionRequest(**fields)
        parsed = time.thread_time()
        refusal = self._handler._validate_request(request)
        checked = time.thread_time()
        if refusal:
            raise SystemExit(f"body: refused: {refusal}")
        generate, _ = self._handler._convert_to_internal_request(request, _NO_HEADERS)
        rest = time.thread_time() - checked - self._build.seconds
        times = {
            "parse": parsed - start,
            "check": checked - parsed,
            "build": self._build.seconds,
            "rest": rest,
        }
        return times, generate


def run(folder: Path, template: Path) -> None:
    """Answer the steps of standard input until it ends."""
    require("apply_template")
    server_args = ServerArgs(model_path=str(folder), device="cpu")
    runtime_context.publish(server_args, role="tokenizer")
    tokenizer = get_tokenizer(str(folder))
    tokenizer.chat_template = template.read_text(encoding="utf-8")
    templates = TemplateManager()

    def manager(parser: str) -> _Manager:
        return _Manager(server_args, tokenizer, parser)

    templates.initialize_templates(manager(PARSER), str(folder))
    handler = OpenAIServingChat(manager(PARSER), templates)
    ours = _Side(handler, _Stopwatch(handler._encoding_adapter, "encode_messages"), is_ours=True)
    handler = _StockChat(manager(STOCK_PARSERS[0]), templates)
    stock = _Side(handler, _Stopwatch(handler, "_apply_jinja_template"), is_ours=False)
    gc.collect()
    gc.freeze()  # SGLang's modules; else single steps pay for looking through them
    vocabulary = vocabulary_of(tokenizer)
    for line in sys.stdin:
        step = json.loads(line)
        if step["side"] == "ours":
            answer = _build_ours(ours, step, vocabulary)
        else:
            answer = _build_stock(stock, step, vocabulary)
        print(json.dumps(answer), flush=True)


def _build_ours(ours: _Side, step: dict[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
    times, generate = ours.run(json.dumps(step["body"]))
    turn = request_scope.attached_turn(generate)
    assert turn is not None
    start = time.process_time()
    turn.record(step["output_ids"])
    history_of(vocabulary).settle()
    record = time.process_time() - start
    return {"times": times, "num_tokens": len(generate.input_ids), "record": record}


def _build_stock(stock: _Side, step: dict[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
    times, generate = stock.run(json.dumps(step["body"]))
    text = vocabulary.decode(generate.input_ids)
    start = time.thread_time()
    _look_at_every_character(text)
    return {"times": times, "release_cuts": time.thread_time() - start}


def _look_at_every_character(text: str) -> int:
    """Return the longest run of white space or of anything else, found one character at a time.

    The release's tokenizer, which is Python, finds its cuts like this (FORMAT section 2.3). The one
    that is served here finds the same cuts without, so stock would be timed too low.
    """
    longest = length = 0
    was_space = False
    for character in text:
        is_space = character.isspace()
        if is_space == was_space:
            length += 1
        else:
            longest = max(longest, length)
            length, was_space = 1, is_space
    return max(longest, length)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
