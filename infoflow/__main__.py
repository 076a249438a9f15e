"""python -m infoflow"""

import sys

from infoflow.cli.main import main

sys.exit(main())
