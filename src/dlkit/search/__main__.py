"""`python -m dlkit.search FOLDER`: one more process at work on a search, started by the first."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dlkit.errors import DlkitError
from dlkit.search.study import SearchFolder
from dlkit.search.worker import work


def main(path: str) -> int:
    """Works until all is done or the process that started this one is gone."""
    parent = os.getppid()
    try:
        with SearchFolder.open(Path(path)) as folder:
            work(folder, wanted=lambda: os.getppid() == parent)
    except KeyboardInterrupt:
        return 130
    except DlkitError as error:
        print(f"dlkit: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
