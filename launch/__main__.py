"""`python -m sglang_kimi.launch`: the console script where its file is not on PATH."""

import sys

from .cli import main

sys.exit(main())
