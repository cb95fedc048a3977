"""Run by the interpreter of the small environment: prints what transformers makes of a checkpoint.

Arguments: checkout, tokenizer folder, file of golden prompts. Prints one JSON object.
"""

import importlib
import json
import sys
import tempfile
from pathlib import Path

checkout, tokenizer_directory, golden_file = sys.argv[1:]
sys.path.insert(0, checkout)
importlib.import_module("sglang_kimi")

# The checkout's `kernels` room would hide the package of that name, which transformers looks for.
sys.path.remove(checkout)
import transformers  # noqa: E402

from sglang_kimi import config, tokenizer  # noqa: E402

config.register()
tokenizer.register()
loaded = transformers.AutoTokenizer.from_pretrained(tokenizer_directory)
kimi = transformers.AutoConfig.from_pretrained(tokenizer_directory)

different = []
for line in Path(golden_file).read_text(encoding="utf-8").splitlines():
    golden = json.loads(line)
    ids, text = golden["prompt_ids"], golden["prompt_text"]
    is_same = (
        loaded.encode(text) == ids
        and loaded(text)["input_ids"] == ids
        and loaded.decode(ids) == text
        and loaded.convert_tokens_to_string(loaded.convert_ids_to_tokens(ids)) == text
    )
    if not is_same:
        different.append(golden["name"])

with tempfile.TemporaryDirectory() as directory:
    loaded.save_pretrained(directory)
    again = transformers.AutoTokenizer.from_pretrained(directory)

think = loaded.convert_tokens_to_ids("<think>")
print(
    json.dumps(
        {
            "transformers": transformers.__version__,
            "class": f"{type(loaded).__module__}.{type(loaded).__name__}",
            "saved_class": f"{type(again).__module__}.{type(again).__name__}",
            "saved_is_equal": again.get_vocab() == loaded.get_vocab(),
            "size": [loaded.vocab_size, len(loaded), len(loaded.get_vocab())],
            "special_ids": [
                loaded.bos_token_id,
                loaded.eos_token_id,
                loaded.pad_token_id,
                loaded.unk_token_id,
            ],
            "all_special_ids": sorted(loaded.all_special_ids),
            "skipped": loaded.decode([loaded.bos_token_id, think], skip_special_tokens=True),
            "different": different,
            "config_class": f"{type(kimi).__module__}.{type(kimi).__name__}",
            "text_config": [kimi.text_config.hidden_size, kimi.text_config.n_routed_experts],
        }
    )
)
