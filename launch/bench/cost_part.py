"""The part `cost`: prints what building prompts takes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .workshop import Workshop


def run(workshop: Workshop) -> list[str]:
    """Print the tables; the rows are those of `codec_cost`."""
    from .codec_cost import growth_us_per_1k, measure_prompts, measure_session

    vocabulary = workshop.vocabulary
    render = renderer(vocabulary.directory)
    print("one new turn of about 500 tokens; median of 5; ms\n")
    print(f"{'prompt tokens':>13}  {'ours':>8}  {'stock':>8}  {'stock / ours':>12}")
    rows = []
    for row in measure_prompts(vocabulary, render, sorted(workshop.args.tokens)):
        rows.append(row)
        cost = (row.num_tokens, row.ours_s * 1e3, row.stock_s * 1e3)
        workshop.plot_data.costs.append(cost)
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
    return []


def renderer(directory: Path) -> Callable[[Sequence[Any], Sequence[Any]], str]:
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
