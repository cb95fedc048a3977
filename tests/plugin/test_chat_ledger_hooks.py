"""Output ids of our prompts reach the ledger, before a client can come back with them."""

import asyncio
import pickle
from types import SimpleNamespace

import pytest

from sglang_kimi.chat import history_hooks, request_scope
from sglang_kimi.chat.names import ENCODING
from sglang_kimi.chat.request_scope import Pairing, Turn
from sglang_kimi.codec.ledger import Origin

PROMPT = [1, 2, 3]
STOP = {"type": "stop", "matched": 9}


class Store:
    """Keeps what is recorded; stands for the history."""

    def __init__(self):
        self.recorded = []
        self.confirmed = []

    def record(self, turn, output_ids):
        self.recorded.append((turn.prompt_ids, list(output_ids), turn.origin.tenant))

    def confirm(self, turn):
        self.confirmed.append(turn.pairing)


@pytest.fixture
def flags(monkeypatch):
    flags = SimpleNamespace(incremental_streaming_output=False, disaggregation_mode="null")
    monkeypatch.setattr(history_hooks, "get_serving", lambda: flags)
    monkeypatch.setattr(history_hooks, "get_disagg", lambda: flags)
    return flags


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def request_of_a_pair(store):
    obj = SimpleNamespace(input_ids=PROMPT)
    pairing = Pairing("decode", "room")
    request_scope.attach_turn(obj, Turn(store, PROMPT, b"digest", Origin("tenant"), pairing))
    return obj


@pytest.fixture
def request_of_ours(store):
    obj = SimpleNamespace(input_ids=PROMPT)
    request_scope.attach_turn(obj, Turn(store, PROMPT, b"digest", Origin("tenant")))
    return obj


def chunk(output_ids, num_tokens=None, finish=None, **fields):
    count = len(output_ids) if num_tokens is None else num_tokens
    meta = {"completion_tokens": count, "finish_reason": finish}
    return {"output_ids": output_ids, "meta_info": meta, **fields}


def generator(chunks, error=None):
    async def generate(manager, obj, request):
        for item in chunks:
            yield item
        if error is not None:
            raise error

    return generate


def run(obj, chunks, take=None, error=None, on_yield=None):
    """Consume the hooked generator as a handler does; `take` chunks, then leave."""

    async def consume():
        outputs = history_hooks._generate_request(generator(chunks, error), None, obj, None)
        seen = []
        async for item in outputs:
            seen.append(item)
            if on_yield is not None:
                on_yield(len(seen))
            if len(seen) == take:
                await outputs.aclose()
                break
        return seen

    return asyncio.run(consume())


def test_a_whole_answer_is_recorded_before_it_is_yielded(flags, store, request_of_ours):
    seen = []
    run(
        request_of_ours,
        [chunk([5, 6, 9], finish=STOP)],
        on_yield=lambda _: seen.append(list(store.recorded)),
    )
    assert seen == [[(PROMPT, [5, 6, 9], "tenant")]]
    assert store.recorded == seen[0]


def test_a_stream_is_recorded_once_and_before_its_last_chunk(flags, store, request_of_ours):
    shared = [5, 6, 7, 9]  # one list that SGLang goes on growing
    chunks = [chunk(shared, 1), chunk(shared, 3), chunk(shared, 4, STOP)]
    counts = []
    run(request_of_ours, chunks, on_yield=lambda _: counts.append(len(store.recorded)))
    assert counts == [0, 0, 1]
    assert store.recorded == [(PROMPT, [5, 6, 7, 9], "tenant")]


def test_incremental_chunks_are_joined(flags, store, request_of_ours):
    flags.incremental_streaming_output = True
    run(request_of_ours, [chunk([5, 6], 2), chunk([7], 3), chunk([9], 4, STOP)])
    assert store.recorded == [(PROMPT, [5, 6, 7, 9], "tenant")]


def test_ids_that_an_abort_repeats_are_taken_once(flags, store, request_of_ours):
    flags.incremental_streaming_output = True
    run(request_of_ours, [chunk([5, 6], 2), chunk([5, 6], 2, {"type": "abort"})])
    assert store.recorded == [(PROMPT, [5, 6], "tenant")]


@pytest.mark.parametrize("is_incremental", [False, True])
def test_a_request_aborted_while_it_waits_ends_without_a_count(
    flags, store, request_of_ours, is_incremental
):
    flags.incremental_streaming_output = is_incremental
    last = {"output_ids": [5, 6], "meta_info": {"finish_reason": {"type": "abort"}}}
    run(request_of_ours, [chunk([5, 6], 2), last])
    assert store.recorded == [(PROMPT, [5, 6], "tenant")]


def test_every_choice_is_recorded(flags, store, request_of_ours):
    run(request_of_ours, [[chunk([5, 9], finish=STOP), chunk([6, 9], finish=STOP)]])
    assert [ids for _, ids, _ in store.recorded] == [[5, 9], [6, 9]]


def test_streamed_choices_are_told_apart_by_their_index(flags, store, request_of_ours):
    run(
        request_of_ours,
        [
            chunk([5], index=1),
            chunk([6], index=0),
            chunk([5, 9], finish=STOP, index=1),
            chunk([6, 7, 9], finish=STOP, index=0),
        ],
    )
    assert [ids for _, ids, _ in store.recorded] == [[5, 9], [6, 7, 9]]


def test_what_came_before_a_client_left_is_recorded(flags, store, request_of_ours):
    run(request_of_ours, [chunk([5]), chunk([5, 6]), chunk([5, 6, 9], finish=STOP)], take=2)
    assert store.recorded == [(PROMPT, [5, 6], "tenant")]


def test_what_came_before_an_error_is_recorded_and_the_error_goes_on(flags, store, request_of_ours):
    with pytest.raises(ValueError, match="gone"):
        run(request_of_ours, [chunk([5])], error=ValueError("gone"))
    assert store.recorded == [(PROMPT, [5], "tenant")]


def test_nothing_is_recorded_without_a_token(flags, store, request_of_ours):
    run(request_of_ours, [chunk([], finish={"type": "abort"})])
    assert store.recorded == []


def test_a_ledger_that_fails_does_not_cost_the_answer(flags, store, request_of_ours, caplog):
    store.record = lambda *_: 1 / 0
    answer = [chunk([5, 9], finish=STOP)]
    assert run(request_of_ours, answer) == answer
    assert "could not be recorded" in caplog.text


def test_prompts_that_are_not_ours_pass_untouched(flags, store):
    answer = [chunk([5, 9], finish=STOP)]
    assert run(SimpleNamespace(input_ids=PROMPT), answer) == answer
    assert store.recorded == []


def test_a_prefill_server_records_nothing(flags, store, request_of_ours):
    flags.disaggregation_mode = "prefill"
    run(request_of_ours, [chunk([5], finish={"type": "length"})])
    assert store.recorded == []


def test_a_dumped_request_holds_nothing_of_the_turn(store):
    assert pickle.loads(pickle.dumps(Turn(store, PROMPT, b"digest", Origin("tenant")))) is None


def encode(store):
    """Do what the adapter does: encode for the origin in scope, and leave the turn there."""
    scope = request_scope.current()
    scope.turn = Turn(store, PROMPT, b"digest", scope.origin)


def raw_request(key):
    return SimpleNamespace(headers={"authorization": key})


def handler(spec=ENCODING):
    return SimpleNamespace(chat_encoding_spec=spec)


def test_a_chat_request_carries_its_turn_to_the_generation(store):
    def convert(handler, request, raw_request):
        encode(store)
        return SimpleNamespace(), request

    keys = ("one", "other")
    generated = [
        history_hooks._convert_chat_request(convert, handler(), SimpleNamespace(), raw_request(key))
        for key in keys
    ]
    turns = [request_scope.attached_turn(obj) for obj, _ in generated]
    assert turns[0].origin.tenant != turns[1].origin.tenant
    assert request_scope.current().turn is None


def test_another_models_chat_is_left_alone(store):
    def convert(handler, request, raw_request):
        encode(store)
        return SimpleNamespace(), request

    obj, _ = history_hooks._convert_chat_request(
        convert, handler(None), SimpleNamespace(), raw_request("key")
    )
    assert request_scope.attached_turn(obj) is None


def test_concurrent_responses_keep_their_own_turns(store):
    async def create(handler, request, raw_request):
        await asyncio.sleep(0)
        encode(store)
        await asyncio.sleep(0)
        obj = SimpleNamespace()
        history_hooks._mark_response_generation(handler, "id", PROMPT, obj, {}, None)
        return obj

    async def ask(number):
        request = SimpleNamespace(
            request_id=f"resp_{number}", previous_response_id=None, cache_salt=str(number)
        )
        return await history_hooks._create_responses(create, handler(), request, None)

    async def ask_all():
        return await asyncio.gather(*(ask(number) for number in range(20)))

    turns = [request_scope.attached_turn(obj) for obj in asyncio.run(ask_all())]
    assert len({turn.origin.tenant for turn in turns}) == 20
    assert len({turn.origin.hint for turn in turns}) == 20


def pairing_of(request, headers=None):
    seen = []

    def convert(handler, request, raw_request):
        seen.append(request_scope.current().pairing)
        return SimpleNamespace(), request

    raw = SimpleNamespace(headers=headers or {})
    history_hooks._convert_chat_request(convert, handler(), request, raw)
    return seen[0]


def in_room(host="10.0.0.1", room=7):
    return SimpleNamespace(bootstrap_host=host, bootstrap_port=8998, bootstrap_room=room)


def test_prefill_and_decode_server_name_a_request_alike(flags):
    flags.disaggregation_mode = "prefill"
    one, other = pairing_of(in_room()), pairing_of(in_room(room=8))
    flags.disaggregation_mode = "decode"
    by_header = {"x-override-bootstrap-room": "7"}
    assert pairing_of(in_room()) == pairing_of(in_room(room=3), by_header) == ("decode", one.room)
    assert one.side == "prefill" and one.room != other.room
    assert pairing_of(in_room(host="10.0.0.2")).room != one.room


def test_a_request_without_a_second_server_has_no_pair(flags):
    assert pairing_of(in_room()) is None
    flags.disaggregation_mode = "decode"
    assert pairing_of(in_room(room=None)) is None
    assert pairing_of(in_room(host="2.2.2.2")) is None  # SGLang's name for a prefill that is none


@pytest.mark.parametrize("mode", ["prefill", "decode"])
def test_a_pairs_prompt_is_confirmed_once_and_before_any_output(
    flags, store, request_of_a_pair, mode
):
    flags.disaggregation_mode = mode
    seen = []
    chunks = [chunk([5]), chunk([5, 6, 9], finish=STOP)]
    run(request_of_a_pair, chunks, on_yield=lambda _: seen.append(len(store.confirmed)))
    assert seen == [1, 1]
    assert len(store.recorded) == (mode == "decode")


@pytest.mark.parametrize("mode", ["prefill", "decode"])
def test_another_prompt_on_the_other_server_ends_the_request(flags, store, request_of_a_pair, mode):
    flags.disaggregation_mode = mode

    def refuse(turn):
        raise ValueError("another prompt")

    store.confirm, seen = refuse, []
    with pytest.raises(ValueError, match="another prompt"):
        run(request_of_a_pair, [chunk([5, 9], finish=STOP)], on_yield=seen.append)
    assert seen == [] and store.recorded == []
