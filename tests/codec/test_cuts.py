"""Where long texts are cut (FORMAT section 2.3)."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from sglang_kimi.codec import cuts
from sglang_kimi.codec.cuts import TextCuts


def lengths(*texts: str) -> list[int]:
    counter = TextCuts()
    return [len(piece) for text in texts for piece in counter.pieces(text)]


def test_short_text_is_one_piece() -> None:
    assert lengths("some words\n") == [11]
    assert lengths("") == []


def test_a_run_is_cut_before_it_passes_25000_characters() -> None:
    assert lengths("x" * 25_000) == [25_000]
    assert lengths("x" * 25_001) == [25_000, 1]
    assert lengths("x" * 60_000) == [25_000, 25_000, 10_000]
    assert lengths("ab " + "x" * 25_002 + " y") == [3 + 25_000, 2 + 2]


def test_white_space_is_a_run_of_its_own() -> None:
    assert lengths("x" * 20_000 + " " * 20_000) == [40_000]
    assert lengths("x" + "\n \t" * 9_000) == [1 + 25_000, 2_000]
    assert lengths("\u3000" * 25_001) == [25_000, 1]  # as str.isspace sees it


def test_a_slice_ends_every_400000_characters_and_runs_start_anew_in_it() -> None:
    words = "word " * 80_000
    assert lengths(words) == [400_000]
    assert lengths(words + "tail") == [400_000, 4]
    # The run that crosses the border has 20,000 characters on each side: neither is cut.
    assert lengths("w " * 190_000 + "x" * 40_000) == [400_000, 20_000]


def test_counting_goes_on_from_text_to_text() -> None:
    assert lengths("<|im_user|>", "x" * 24_990) == [11, 24_989, 1]
    assert lengths("a b ", "x" * 25_000) == [4, 25_000]
    assert lengths("word " * 80_000, "next") == [400_000, 4]
    assert lengths("x" * 25_000, "x" * 3) == [25_000, 3]  # the border is a cut by itself


def plain_pieces(text: str) -> list[str]:
    """Cut character by character, as the specification's sentence reads."""
    pieces: list[str] = []
    for start in range(0, len(text), cuts._SLICE_CHARS):
        run, piece = 0, ""
        for character in text[start : start + cuts._SLICE_CHARS]:
            is_same = bool(piece) and piece[-1].isspace() == character.isspace()
            run = run + 1 if is_same else 1
            if run > cuts._RUN_CHARS:
                pieces.append(piece)
                run, piece = 1, ""
            piece += character
        pieces.append(piece)
    return pieces


@settings(max_examples=1000, deadline=None)
@given(
    parts=st.lists(st.tuples(st.sampled_from("x \n"), st.integers(0, 9)), max_size=12),
    borders=st.lists(st.integers(0, 60), max_size=4),
)
def test_pieces_are_those_of_the_sentence_however_the_text_is_handed_over(
    parts: list[tuple[str, int]], borders: list[int]
) -> None:
    text = "".join(character * count for character, count in parts)
    places = sorted({0, len(text), *(min(border, len(text)) for border in borders)})
    saved = cuts._SLICE_CHARS, cuts._RUN_CHARS
    cuts._SLICE_CHARS, cuts._RUN_CHARS = 17, 5  # type: ignore[misc]  # small enough to reach
    try:
        expected = {0, len(text)} | positions(plain_pieces(text))
        counter, found = TextCuts(), {0, len(text)}
        for start, end in pairwise(places):
            inner = positions(counter.pieces(text[start:end]))
            found |= {start + position for position in inner}
        assert found | set(places) == expected | set(places)
    finally:
        cuts._SLICE_CHARS, cuts._RUN_CHARS = saved  # type: ignore[misc]


def positions(pieces: list[str]) -> set[int]:
    ends, total = set(), 0
    for piece in pieces:
        total += len(piece)
        ends.add(total)
    return ends
