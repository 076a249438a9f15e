"""python -m infoflow"""

import sys

from infoflow.cli import main

sys.exit(main())
