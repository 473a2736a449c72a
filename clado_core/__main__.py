"""Entry point of ``python -m clado_core``."""

import sys

from clado_core.cli import main

sys.exit(main())
