"""Label recovery: from partly known labels and features to a score for every pair.

Others use `train.train`, `model.Recovery` and its scores, and `ranking.propose`.
"""
