# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a stage is to be held."""

from __future__ import annotations

import dataclasses

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.analysis import DEFAULT_RISKS, Risks
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import (
    POINT,
    Condition,
    Conditions,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.observer import Watch

# Grid times are sums of floats; a span that is short by less than this is not short.
SLACK = 1e-6

NO_CONDITIONS = Conditions((), ())
AT_END, WHEN_SURE = ADVANCE = ("at_end", "when_sure")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a stage is held. All times are in real seconds; ``seconds`` from now to the planned end.

    Criteria that are judged by a value must hold over the last ``observe`` seconds; those judged by all requests of
    the stage must hold at its end. Up to ``extend_by`` seconds are added while they do not. With ``advance``
    "when_sure" the stage ends as soon as all of that holds, and no sooner than after ``warm_up`` and ``observe``.
    A condition without evidence, or with its source down, for ``grace`` seconds sets off its policy; nothing of that,
    and no criterion, counts during ``warm_up``. Triggers always do. For ``api_patience`` seconds a Kubernetes API that
    is away is borne, where the stage is to end or traffic is to be taken back.
    """

    seconds: float
    interval: float = 10.0
    conditions: Conditions = NO_CONDITIONS
    observe: float = 0.0
    extend_by: float = 0.0
    warm_up: float = 0.0
    grace: float = 60.0
    api_patience: float = 300.0
    on_no_evidence: str = "hold"
    on_source_down: str = "hold"
    on_interrupt: str = "roll_back"
    advance: str = AT_END
    risks: Risks = DEFAULT_RISKS

    def check(self) -> None:
        """Raises InputError for times that can't work together."""
        if self.interval <= 0:
            raise InputError(f"interval: {self.interval:g} must be more than 0 seconds.")
        for option in ("observe", "extend_by", "warm_up", "grace", "api_patience"):
            if getattr(self, option) < 0:
                raise InputError(f"{option}: {getattr(self, option):g} is negative.")
        longest = max([0.0, *(self.asked(one) for one in self.conditions.criteria)])
        room = self.seconds + self.extend_by - self.warm_up
        if self.conditions.criteria and longest > room + SLACK:
            raise InputError(
                f"observe: criteria must hold for {longest:g} s, and the stage has {max(0.0, room):g} s for it "
                "after warm_up, extend_by included: give it more time, or ask for less."
            )

    def asked(self, criterion: Condition) -> float:
        """For how many seconds on end a criterion must have passed when the stage ends."""
        if criterion.lasting is not None:
            return criterion.lasting
        return self.observe if criterion.evidence == POINT else 0.0

    @property
    def watch(self) -> Watch:
        """For how long is looked, and what may be risked meanwhile."""
        return Watch(self.seconds + self.extend_by, risks=self.risks)
