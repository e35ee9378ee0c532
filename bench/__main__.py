"""``python -m bench``: the comparison."""

import sys

from bench.run import main

sys.exit(main())
