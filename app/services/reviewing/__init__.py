"""The loop's human half: queues, cards, verdicts, undo, panels, flags, known answers."""
