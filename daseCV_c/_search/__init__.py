"""The search for good settings: many trainings side by side, on one machine or on a Dask cluster.

One process leads. It chooses the settings of each trial, hands trials to processes that only train, and writes what
they find into an Optuna storage; several may lead at the same time on one storage.

    ledger  --- claim --->  choice: settings and pruning thresholds of trial k
      |                        |
      |  storage, locks        v
      |                     lead  --- Task --->  local | on_dask: processes that train
      |                        <---- Outcome ---    trial.run
      v
    found: table, CSV, picture, the line that trains a trial again

Trial k is a function of the search's seed, of k and of what trials 0 ... k - ahead have found. Nothing else goes into
it: not who runs it, not when, not how many run beside it. A trial whose process is killed is therefore tried again
with the same numbers, and a search on a cluster finds what one process finds, bit by bit.
"""
