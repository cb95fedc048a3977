"""What a ledger in a file costs is measured on one conversation and printed as a table."""

from sglang_kimi.launch.cli import main


def test_each_cost_is_printed_beside_that_of_memory(mini_checkpoint, capsys):
    command = ["bench", "ledger", "--tokenizer", str(mini_checkpoint), "--turns", "3"]
    assert main(command) == 0
    heading, _, *rows = capsys.readouterr().out.splitlines()
    assert "3 turns in the ledger; ms" in heading
    assert len(rows) == 6 and all(float(row.split()[-1]) > 0 for row in rows)
