# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The four verdicts; only ``pass`` is success."""

from __future__ import annotations

PASS, FAIL, NO_EVIDENCE, SOURCE_DOWN = VERDICTS = ("pass", "fail", "no_evidence", "source_down")
