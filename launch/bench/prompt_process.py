"""The process that times prompts inside SGLang's handler, which this room does not import."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sglang_kimi.launch.jsonlines import UsageError
from sglang_kimi.launch.server_process import server_environment

from .line_process import LineProcess

_MODULE: Final = "sglang_kimi.chat.prompt_cost"
_MINI_TEMPLATE: Final = Path(__file__).parent.parent / "mini" / "chat_template.jinja"


@dataclass(frozen=True)
class Times:
    """What one request took in its stretches, in seconds of CPU time.

    parse: pydantic's validation of the body. check: SGLang's own check of the request, with a
    schema check for each tool. build: the validated request to its prompt's ids. rest: the grammar
    and sampling parameters that follow.
    """

    parse: float
    check: float
    build: float
    rest: float


@dataclass(frozen=True)
class OurStep:
    """One request with our encoding.

    record_s: CPU time of remembering and reading its answer, once that is there.
    """

    num_tokens: int
    times: Times
    record_s: float


@dataclass(frozen=True)
class StockStep:
    """One request with template and tokenizer.

    release_cuts_s: what it would take besides with the release's own tokenizer, which looks at
    every character in Python; ours, which is served on both sides, does not.
    """

    times: Times
    release_cuts_s: float

    @property
    def released_s(self) -> float:
        """Return the build with the release's own tokenizer."""
        return self.times.build + self.release_cuts_s


class PromptProcess(LineProcess):
    """A context in which requests are timed; starting it takes half a minute.

    folder: a checkpoint's, its weights not needed. Raises UsageError if it has no config.json.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "config.json").is_file():
            raise UsageError(f"{folder}: want a checkpoint's folder, found no config.json in it")
        own = folder / "chat_template.jinja"
        template = own if own.is_file() else _MINI_TEMPLATE
        environment = {**os.environ, **server_environment(folder)}
        environment.pop("SGLANG_PLUGINS", None)  # our chat handling is one of the two sides
        super().__init__([sys.executable, "-m", _MODULE, str(folder), str(template)], environment)

    def time_ours(self, body: Mapping[str, Any], output_ids: Sequence[int]) -> OurStep:
        """Build a chat request's prompt, and let `output_ids` be what is generated then.

        Raises ServerError with the end of the process's log if it ended.
        """
        answer = self.ask({"side": "ours", "body": body, "output_ids": output_ids})
        return OurStep(answer["num_tokens"], Times(**answer["times"]), answer["record"])

    def time_stock(self, body: Mapping[str, Any]) -> StockStep:
        """Build a chat request's prompt as SGLang does; ServerError as `time_ours`."""
        answer = self.ask({"side": "stock", "body": body})
        return StockStep(Times(**answer["times"]), answer["release_cuts"])
