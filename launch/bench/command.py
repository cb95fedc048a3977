"""`sglang-kimi bench codec`: measure on this machine what the README says."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sglang_kimi.launch.jsonlines import load_vocabulary

_DESCRIPTION = """\
Build the prompts of a growing agent session twice in one run: with our conversation encoder, warm
from the turn before, and with the chat template and tokenizer over the whole history, as SGLang
does without this package. Prints milliseconds and ratios. Not measured here: HTTP, validation, and
what the server's prefix cache then reuses."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the sub-command `bench`."""
    parser = subparsers.add_parser("bench", help="measure, side by side with stock, in one run")
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    codec = subjects.add_parser("codec", help="cost of building prompts", description=_DESCRIPTION)
    codec.add_argument(
        "--tokenizer", required=True, metavar="DIR", help="folder with tiktoken.model"
    )
    codec.add_argument(
        "--tokens",
        type=int,
        nargs="+",
        default=[16_000, 64_000, 128_000, 200_000],
        metavar="N",
        help="sizes of the history, in tokens, ascending (default 16000 64000 128000 200000)",
    )
    codec.set_defaults(run=run_codec)


def run_codec(args: argparse.Namespace) -> int:
    """Measure and print; returns the exit status."""
    from .codec_cost import growth_us_per_1k, measure_prompts, measure_session

    vocabulary = load_vocabulary(args.tokenizer)
    render = _renderer(Path(args.tokenizer))
    print("one new turn of about 500 tokens; median of 5; ms\n")
    print(f"{'prompt tokens':>13}  {'ours':>8}  {'stock':>8}  {'stock / ours':>12}")
    rows = []
    for row in measure_prompts(vocabulary, render, sorted(args.tokens)):
        rows.append(row)
        ratio = row.stock_s / row.ours_s
        print(
            f"{row.num_tokens:>13,}  {row.ours_s * 1e3:>8.2f}  {row.stock_s * 1e3:>8.1f}"
            f"  {ratio:>11.0f}x",
            flush=True,
        )
    if len(rows) > 1:
        print(f"\ngrowth of ours: {growth_us_per_1k(rows):.1f} µs per 1,000 tokens of history")
    total = measure_session(vocabulary, render, num_turns=100, num_chars=4000)
    print(
        f"\nsession of {total.num_turns} turns up to {total.num_tokens:,} tokens: ours "
        f"{total.ours_s * 1e3:.0f} ms, stock {total.stock_s * 1e3:,.0f} ms, ratio "
        f"{total.stock_s / total.ours_s:.0f}"
    )
    return 0


def _renderer(directory: Path) -> Any:
    """Return what renders messages with the folder's chat template, or with the mini's."""
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    own = directory / "chat_template.jinja"
    path = own if own.is_file() else Path(__file__).parent.parent / "mini" / "chat_template.jinja"
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.ChainableUndefined
    )
    environment.filters["tojson"] = _to_json
    template = environment.from_string(path.read_text(encoding="utf-8"))

    def render(messages: Sequence[Any], tools: Sequence[Any]) -> str:
        return template.render(messages=messages, tools=tools, add_generation_prompt=True)

    return render


def _to_json(value: Any, **options: Any) -> str:
    """Return JSON as transformers' template environment writes it: no HTML escapes."""
    import json

    return json.dumps(value, ensure_ascii=False, **options)
