"""``python -m reviver`` is the command ``reviver``."""

import sys

from reviver.cli import main

sys.exit(main())
