"""`sglang-kimi render`: the prompt, ids and text, that a conversation becomes."""

import argparse
from typing import Any

from sglang_kimi.codec.prompt import PromptCodec

from .jsonlines import add_input_arguments, load_vocabulary, process_lines

_DESCRIPTION = """\
Render conversations to prompts. Each input line is {"name", "messages", "tools"}; each output line
is {"name", "prompt_ids", "prompt_text"}, or {"name", "error"} with the message and field at fault.
Exit status: 0 every line was rendered, 1 some line has an error, 2 bad usage."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the sub-command `render`."""
    parser = subparsers.add_parser(
        "render",
        help="print the prompt that messages and tools become",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_input_arguments(parser)
    parser.add_argument(
        "--ids",
        choices=("verbatim", "normal"),
        default="verbatim",
        help="tool-call ids: the client's own, or functions.NAME:INDEX as the server writes them"
        " (default: verbatim)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Render every line of the input; returns the exit status."""
    codec = PromptCodec(load_vocabulary(args.tokenizer))

    def render(record: dict[str, Any]) -> dict[str, Any]:
        messages: Any = record.get("messages")  # the codec refuses what is no list of objects
        prompt_ids = codec.encode(messages, record.get("tools"), tool_call_ids=args.ids)
        return {"prompt_ids": prompt_ids, "prompt_text": codec.decode(prompt_ids)}

    return process_lines(args.file, render)
