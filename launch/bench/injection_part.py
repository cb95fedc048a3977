"""The part `injection`: clients' texts that try to become control tokens, counted way by way."""

from collections.abc import Iterable, Iterator

from .injection import Tally, control_tokens_without_us, through_codec, through_render
from .injection_server import connect, through_server
from .workshop import OURS, Workshop

NUM_ROUNDS = 48
"""How many texts each place gets where prompts cost a server's time."""

_NUM_SHOWN = 5


def run(workshop: Workshop) -> list[str]:
    """Print the table; every fault is a miss."""
    vocabulary = workshop.vocabulary
    print(
        "case: one text in one place. fault: a prompt that is not the specification's frame with\n"
        "the texts in it, to the letter, or that was refused.\n"
    )
    print(f"{'way':<28}  {'prompts':>7}  {'cases':>7}  {'faults':>6}")
    misses = list(_shown(_without_server(workshop)))
    count = control_tokens_without_us(vocabulary, NUM_ROUNDS)
    print(f"\nthe tokenizer over the same {NUM_ROUNDS} texts: {count:,} control tokens from text\n")
    post, model = connect(workshop.server(OURS).url)
    return misses + list(
        _shown(through_server(post, model, workshop.served_vocabulary, NUM_ROUNDS))
    )


def _without_server(workshop: Workshop) -> Iterator[Tally]:
    yield from through_codec(workshop.vocabulary)
    yield through_render(workshop.vocabulary, NUM_ROUNDS)


def _shown(tallies: Iterable[Tally]) -> Iterator[str]:
    """Print rows, and yield a line for the first faults of each."""
    for tally in tallies:
        num_faults = len(tally.faults)
        print(
            f"{tally.way:<28}  {tally.num_prompts:>7,}  {tally.num_cases:>7,}  {num_faults:>6,}",
            flush=True,
        )
        yield from (f"injection, {fault}" for fault in tally.faults[:_NUM_SHOWN])
