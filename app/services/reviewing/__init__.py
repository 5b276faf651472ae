"""The loop's human half: queues, cards, verdicts, undo, panels, flags, known answers.

Others use `queue` for what to show, `verdicts` and `undo` for answers, and the modules named after
what they settle: `panels`, `assignments`, `gold`, `flags`, `history`, `verdict_file`.
"""
