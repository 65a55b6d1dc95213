"""Run one pod of the sample application: ``python -m rehearsal.app``."""

from __future__ import annotations

from rehearsal.app.main import main

if __name__ == "__main__":
    main()
