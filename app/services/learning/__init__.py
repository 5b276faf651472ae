"""The loop's learning half: embed, train, propose, the gate, model runs, and what starts them.

Others use `triggers` to start it, `model_runs` and `notices` to follow it, and `embedding`,
`training`, `finetuning` and `proposing` as the handlers of jobs.
"""
