"""The loop of the process that leads: claim, hand out, write down, until all trials are finished."""

from __future__ import annotations

import time
from collections.abc import Callable

from daseCV_c._search.ledger import Claim, Ledger
from daseCV_c._search.pools import Lost, Pool
from daseCV_c._search.trial import Outcome
from daseCV_c._training import signals

_TURN = 0.5  # seconds until it looks for signals, and for what other processes have finished


def lead(
    ledger: Ledger, pool: Pool, trials: int, line: Callable[[Claim], str | None],
    say: Callable[[Claim, Outcome | Lost], None],
) -> int:
    """Run trials until the first `trials` are finished, by whomever. The number of a signal that ended it, or 0."""
    from optuna.exceptions import UpdateFinishedTrialError
    running = 0
    with signals.deferred() as asked:
        while not asked.signal:
            while running < pool.size() and (claim := ledger.claim(trials)) is not None:
                pool.submit(claim)
                running += 1
            if not running:
                if ledger.finished(trials):
                    break
                time.sleep(_TURN)  # the rest is with other processes, or there is no worker yet
                continue
            for claim, outcome in pool.finished(_TURN):
                running -= 1
                try:
                    if isinstance(outcome, Lost):
                        ledger.lost(claim, outcome.why)
                    else:
                        ledger.tell(claim, outcome, line(claim))
                except UpdateFinishedTrialError:
                    continue  # while this process seemed to be dead, as with a lost connection, another has taken it
                say(claim, outcome)
    return asked.signal
