"""Two servers of one request work on one prompt, or the request is refused."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from sglang_kimi.codec.ledger_file import LedgerFile
from sglang_kimi.codec.prompt_exchange import (
    PromptExchange,
    PromptMismatchError,
    request_digest,
)

REQUEST = b"r" * 32
CALL_IDS = ["functions.Bash:0"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def exchange(path: Path) -> Iterator[PromptExchange]:
    file = LedgerFile(path, busy_timeout_s=0.05)
    yield PromptExchange(file)
    file.close()


@pytest.mark.parametrize("sides", [("prefill", "decode"), ("decode", "prefill")])
def test_the_second_side_gets_what_the_first_one_made(
    exchange: PromptExchange, sides: tuple[str, str]
) -> None:
    first, second = sides
    assert exchange.agree(first, "room", REQUEST, [1, 2**32 - 1], CALL_IDS) is None
    agreed = exchange.agree(second, "room", REQUEST, [1, 2, 3], [])
    assert agreed == ([1, 2**32 - 1], CALL_IDS)


def test_rooms_are_apart_and_a_prompt_is_handed_on_once(exchange: PromptExchange) -> None:
    assert exchange.agree("prefill", "one", REQUEST, [1], []) is None
    assert exchange.agree("decode", "other", REQUEST, [2], []) is None
    assert exchange.agree("decode", "one", REQUEST, [3], []) == ([1], [])
    assert exchange.agree("decode", "one", REQUEST, [4], []) is None


def test_a_side_that_comes_again_takes_its_own_prompts_place(exchange: PromptExchange) -> None:
    assert exchange.agree("prefill", "room", b"a request that was aborted", [1], []) is None
    assert exchange.agree("prefill", "room", REQUEST, [2], []) is None
    assert exchange.agree("decode", "room", REQUEST, [3], []) == ([2], [])


def test_another_request_in_the_room_is_refused_with_both_lengths(exchange: PromptExchange) -> None:
    exchange.agree("prefill", "room", REQUEST, [101, 102], [])
    with pytest.raises(PromptMismatchError) as refused:
        exchange.agree("decode", "room", b"other", [103, 104, 105], [])
    text = str(refused.value)
    assert "this decode server has a prompt of 3 tokens, the other one of 2" in text
    assert not any(str(token_id) in text for token_id in range(101, 106))


def test_a_prompt_that_nobody_fetched_is_found_out_and_forgotten_later(path: Path) -> None:
    times = [1000.0]
    file = LedgerFile(path)
    exchange = PromptExchange(file, clock=lambda: times[0])
    exchange.agree("decode", "room", REQUEST, [1, 2, 3], [])
    exchange.check_fetched("prefill", "room")
    with pytest.raises(PromptMismatchError, match=r"never fetched this decode .* prompt of 3 tok"):
        exchange.check_fetched("decode", "room")
    times[0] += 601
    assert exchange.agree("prefill", "room", REQUEST, [4], []) is None
    file.close()


def test_a_prompt_that_was_fetched_is_confirmed_on_both_sides(exchange: PromptExchange) -> None:
    exchange.agree("prefill", "room", REQUEST, [1], [])
    exchange.agree("decode", "room", REQUEST, [1], [])
    exchange.check_fetched("prefill", "room")
    exchange.check_fetched("decode", "room")


def test_a_file_that_fails_refuses_the_request(exchange: PromptExchange, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(PromptMismatchError, match=r"cannot be compared .* with SQLITE_BUSY"):
        exchange.agree("prefill", "room", REQUEST, [1], [])
    other.execute("DROP TABLE prompts")
    other.execute("COMMIT")
    with pytest.raises(PromptMismatchError, match=r"cannot be told .* with SQLITE_ERROR"):
        exchange.check_fetched("prefill", "room")
    other.close()


def test_a_digest_is_of_the_whole_request() -> None:
    def digest(tenant="t", text="hi", tool="Bash", is_open=False):  # type: ignore[no-untyped-def]
        messages = [{"role": "user", "content": text}]
        tools = [{"type": "function", "function": {"name": tool, "x": [1, 2.5, None, True]}}]
        return request_digest(tenant, messages, tools, continue_final_message=is_open)

    assert digest(text="".join(["h", "i"])) == digest()
    others = (digest(tenant="T"), digest(text="ho"), digest(tool="Read"), digest(is_open=True))
    assert len({digest(), *others}) == 5
