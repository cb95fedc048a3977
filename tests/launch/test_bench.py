"""The benchmark's sessions are real conversations, and what it times is right."""

from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.bench.codec_cost import measure_prompts, measure_session
from sglang_kimi.launch.bench.cost_part import renderer
from sglang_kimi.launch.bench.sessions import Session


def test_a_sessions_answer_is_what_the_client_sends_back(mini_checkpoint):
    vocabulary = Vocabulary.load(mini_checkpoint)
    session = Session(vocabulary)
    answer = session.answer()
    session.go_on(50)
    prompt = PromptCodec(vocabulary).encode(session.messages, session.tools)
    assert vocabulary.decode(answer) in vocabulary.decode(prompt)


def test_both_ways_render_the_same_text_but_for_the_declaration(mini_checkpoint):
    vocabulary = Vocabulary.load(mini_checkpoint)
    session = Session(vocabulary)
    session.answer()
    session.go_on(50)
    ours = vocabulary.decode(PromptCodec(vocabulary).encode(session.messages, []))
    assert renderer(mini_checkpoint)(session.messages, []) == ours


def test_rows_and_totals_count_the_prompts_tokens(mini_checkpoint):
    vocabulary = Vocabulary.load(mini_checkpoint)
    render = renderer(mini_checkpoint)
    rows = list(measure_prompts(vocabulary, render, [3000, 9000]))
    assert 3000 <= rows[0].num_tokens < rows[1].num_tokens
    total = measure_session(vocabulary, render, num_turns=3, num_chars=100)
    assert total.num_turns == 3 and total.ours_s > 0 and total.stock_s > 0
