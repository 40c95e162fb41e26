"""`python -m deepseek_core.cli`."""

import sys

from deepseek_core.cli import main

__all__: list[str] = []

sys.exit(main())
